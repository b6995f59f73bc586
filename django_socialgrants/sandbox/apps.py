"""The Django app."""

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register
from django.utils.translation import gettext_lazy as _


class SandboxConfig(AppConfig):
    name = "django_socialgrants.sandbox"
    label = "socialgrants_sandbox"
    verbose_name = _("Sandbox networks")
    default_auto_field = "django.db.models.BigAutoField"

    began_in_debug = False
    """Whether DEBUG was on in the settings; test runners switch it off later."""

    def ready(self) -> None:
        self.began_in_debug = settings.DEBUG
        from .checks import check_sandbox

        register(check_sandbox)
