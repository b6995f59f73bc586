from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SocialGrantsConfig(AppConfig):
    name = "django_socialgrants"
    label = "socialgrants"
    verbose_name = _("Social grants")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .checks import credentials, database, keys, logins, policy, providers, settings, site  # noqa: F401
