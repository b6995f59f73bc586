import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import django_socialgrants.models.validators
import django_socialgrants.registry
import django_socialgrants.storage.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderCredentials",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.SlugField(
                        help_text="How this site's URLs, templates and code call the application.",
                        unique=True,
                        verbose_name="name",
                    ),
                ),
                (
                    "provider",
                    models.CharField(
                        choices=django_socialgrants.registry.provider_choices,
                        max_length=32,
                        verbose_name="network",
                    ),
                ),
                (
                    "client_id",
                    models.CharField(
                        max_length=255,
                        validators=[django_socialgrants.models.validators.validate_printable],
                        verbose_name="client id",
                    ),
                ),
                (
                    "client_secret",
                    django_socialgrants.storage.fields.EncryptedField(
                        blank=True,
                        bound_to=("provider", "client_id"),
                        validators=[django_socialgrants.models.validators.validate_secret],
                        verbose_name="client secret",
                    ),
                ),
                (
                    "client_key",
                    django_socialgrants.storage.fields.EncryptedField(
                        blank=True,
                        bound_to=("provider", "client_id"),
                        validators=[django_socialgrants.models.validators.validate_secret],
                        verbose_name="client key",
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        blank=True,
                        help_text="Permissions to ask for, separated by spaces.",
                        max_length=1000,
                        validators=[django_socialgrants.models.validators.validate_printable],
                        verbose_name="scope",
                    ),
                ),
                (
                    "implicit_enabled",
                    models.BooleanField(default=False, verbose_name="implicit grant enabled"),
                ),
                (
                    "ways",
                    models.CharField(
                        blank=True,
                        help_text="Each way in of the network that is named here has a button. Separate them by spaces.",
                        max_length=255,
                        verbose_name="ways in",
                    ),
                ),
                (
                    "native_redirect_uris",
                    models.TextField(
                        blank=True,
                        help_text="One a line. Native apps may finish their logins with these, and with no others.",
                        validators=[django_socialgrants.models.validators.validate_native_redirect_uris],
                        verbose_name="redirect URIs of native apps",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
            ],
            options={
                "verbose_name": "application",
                "verbose_name_plural": "applications",
            },
        ),
        migrations.CreateModel(
            name="UsedState",
            fields=[
                (
                    "digest",
                    models.CharField(max_length=64, primary_key=True, serialize=False, verbose_name="digest"),
                ),
                (
                    "used_at",
                    models.DateTimeField(
                        db_index=True, default=django.utils.timezone.now, verbose_name="used at"
                    ),
                ),
            ],
            options={
                "verbose_name": "used state",
                "verbose_name_plural": "used states",
            },
        ),
        migrations.CreateModel(
            name="ApplicationHealth",
            fields=[
                (
                    "credentials",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="health",
                        serialize=False,
                        to="socialgrants.providercredentials",
                        verbose_name="application",
                    ),
                ),
                ("failures", models.PositiveIntegerField(default=0, verbose_name="failures in a row")),
                ("paused_until", models.DateTimeField(blank=True, null=True, verbose_name="paused until")),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("outage", "the network is out of order"),
                            ("rate_limited", "the network asked for fewer requests"),
                            (
                                "mass_revocation",
                                "many tokens at once were refused, so only single ones are tried",
                            ),
                            ("invalid_client", "the network refused the application's own credentials"),
                        ],
                        max_length=64,
                        verbose_name="reason",
                    ),
                ),
                ("recent", models.CharField(blank=True, max_length=100, verbose_name="recent refreshes")),
                ("version", models.PositiveBigIntegerField(default=0, verbose_name="version")),
            ],
            options={
                "verbose_name": "health of an application",
                "verbose_name_plural": "health of applications",
            },
        ),
        migrations.CreateModel(
            name="UserToken",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uid", models.CharField(max_length=255, verbose_name="user id at the network")),
                ("grant_type", models.CharField(max_length=32, verbose_name="grant type")),
                (
                    "access_token",
                    django_socialgrants.storage.fields.EncryptedField(
                        bound_to=("credentials_id", "uid"), verbose_name="access token"
                    ),
                ),
                (
                    "refresh_token",
                    django_socialgrants.storage.fields.EncryptedField(
                        blank=True, bound_to=("credentials_id", "uid"), verbose_name="refresh token"
                    ),
                ),
                (
                    "session_secret",
                    django_socialgrants.storage.fields.EncryptedField(
                        blank=True, bound_to=("credentials_id", "uid"), verbose_name="session secret"
                    ),
                ),
                (
                    "device_id",
                    django_socialgrants.storage.fields.EncryptedField(
                        blank=True, bound_to=("credentials_id", "uid"), verbose_name="device id"
                    ),
                ),
                ("way", models.CharField(blank=True, max_length=32, verbose_name="way in")),
                ("token_type", models.CharField(blank=True, max_length=64, verbose_name="token type")),
                ("scope", models.CharField(blank=True, max_length=1000, verbose_name="scope")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires at")),
                (
                    "refresh_expires_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="refresh token expires at"),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("active", "active"), ("needs_login", "needs login")],
                        default="active",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("invalid_grant", "the network refused the refresh token"),
                            ("session_expired", "the network ended the session"),
                            ("expired", "expired, and can't be refreshed"),
                            ("refresh_expired", "the refresh token expired"),
                            (
                                "ambiguous_rotation",
                                "a refresh was cut off, and its new refresh token is lost",
                            ),
                            ("identity_changed", "the network answered with somebody else's token"),
                            ("outcome_unknown", "the last refresh was cut off"),
                            ("undecipherable", "the stored token can't be decrypted"),
                            ("marked_by_admin", "marked in the admin"),
                            ("imported", "imported without a token"),
                        ],
                        max_length=64,
                        verbose_name="reason",
                    ),
                ),
                ("failures", models.PositiveIntegerField(default=0, verbose_name="failures in a row")),
                (
                    "next_refresh_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="next refresh at"),
                ),
                ("generation", models.PositiveBigIntegerField(default=0, verbose_name="generation")),
                ("lease_owner", models.CharField(blank=True, max_length=64, verbose_name="lease owner")),
                ("lease_until", models.DateTimeField(blank=True, null=True, verbose_name="leased until")),
                ("profile", models.JSONField(blank=True, default=dict, verbose_name="profile")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="granted at"),
                ),
                ("refreshed_at", models.DateTimeField(blank=True, null=True, verbose_name="refreshed at")),
                (
                    "credentials",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tokens",
                        to="socialgrants.providercredentials",
                        verbose_name="application",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="social_tokens",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "user token",
                "verbose_name_plural": "user tokens",
                "indexes": [
                    models.Index(fields=["credentials", "next_refresh_at", "id"], name="socialgrants_due"),
                    models.Index(
                        fields=["credentials", "state", "reason", "refreshed_at"], name="socialgrants_status"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("credentials", "uid"), name="socialgrants_one_identity")
                ],
            },
        ),
    ]
