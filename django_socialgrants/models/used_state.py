"""The states that came back."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class UsedState(models.Model):
    """A `state` that came back, as its SHA-256: inserting the row is what makes it work only once."""

    digest = models.CharField(_("digest"), max_length=64, primary_key=True)
    used_at = models.DateTimeField(_("used at"), default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("used state")
        verbose_name_plural = _("used states")

    def __str__(self) -> str:
        return self.digest
