"""The Django app."""

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _


class SandboxConfig(AppConfig):
    name = "django_socialgrants.sandbox"
    label = "socialgrants_sandbox"
    verbose_name = _("Sandbox networks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .checks import check_sandbox

        register(check_sandbox)
