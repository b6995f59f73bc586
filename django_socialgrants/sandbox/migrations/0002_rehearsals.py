import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("socialgrants_sandbox", "0001_sandbox"),
    ]

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
        migrations.AddField(
            model_name="application",
            name="password_enabled",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="application",
            name="rotation",
            field=models.CharField(blank=True, max_length=8),
        ),
        migrations.AddField(
            model_name="refreshtoken",
            name="access",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, to="socialgrants_sandbox.accesstoken"
            ),
        ),
        migrations.AddField(
            model_name="refreshtoken",
            name="predecessor",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="socialgrants_sandbox.refreshtoken",
            ),
        ),
    ]
