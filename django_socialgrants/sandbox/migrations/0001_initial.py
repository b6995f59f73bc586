import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Rehearsal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("network", models.CharField(max_length=8, unique=True)),
                ("failure", models.CharField(max_length=32)),
                ("seconds", models.PositiveIntegerField(null=True)),
                ("remaining", models.PositiveIntegerField(null=True)),
                ("until", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Application",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("network", models.CharField(max_length=8)),
                ("client_id", models.CharField(max_length=32)),
                ("client_secret", models.CharField(max_length=64)),
                ("client_key", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=100)),
                ("redirect_uris", models.JSONField(default=list)),
                ("implicit_enabled", models.BooleanField(default=False)),
                ("password_enabled", models.BooleanField(default=False)),
                ("rotation", models.CharField(blank=True, max_length=8)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("network", "client_id"), name="sandbox_client_id"),
                    models.UniqueConstraint(fields=("network", "client_key"), name="sandbox_client_key"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AccessToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("value", models.CharField(max_length=255, unique=True)),
                ("uid", models.CharField(max_length=20)),
                ("scope", models.CharField(blank=True, max_length=255)),
                ("expires_at", models.DateTimeField()),
                ("retired_at", models.DateTimeField(null=True)),
                ("session_secret", models.CharField(blank=True, max_length=64)),
                (
                    "application",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="socialgrants_sandbox.application"
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Code",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("value", models.CharField(max_length=255, unique=True)),
                ("uid", models.CharField(max_length=20)),
                ("scope", models.CharField(blank=True, max_length=255)),
                ("expires_at", models.DateTimeField()),
                ("retired_at", models.DateTimeField(null=True)),
                ("redirect_uri", models.TextField()),
                ("code_challenge", models.CharField(blank=True, max_length=64)),
                ("device_id", models.CharField(blank=True, max_length=64)),
                ("refreshable", models.BooleanField(default=True)),
                (
                    "application",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="socialgrants_sandbox.application"
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="RefreshToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("value", models.CharField(max_length=255, unique=True)),
                ("uid", models.CharField(max_length=20)),
                ("scope", models.CharField(blank=True, max_length=255)),
                ("expires_at", models.DateTimeField()),
                ("retired_at", models.DateTimeField(null=True)),
                ("device_id", models.CharField(blank=True, max_length=64)),
                (
                    "access",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="socialgrants_sandbox.accesstoken",
                    ),
                ),
                (
                    "application",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="socialgrants_sandbox.application"
                    ),
                ),
                (
                    "predecessor",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="socialgrants_sandbox.refreshtoken",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
    ]
