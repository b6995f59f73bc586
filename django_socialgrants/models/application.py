"""The applications that are registered at networks, and the health of each."""

from collections.abc import Collection
from typing import Any

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connections, models, router
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from django_socialgrants.exceptions import UnknownCredentials, UnknownProvider
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Credentials
from django_socialgrants.registry import get_provider, provider_choices, providers
from django_socialgrants.storage.fields import EncryptedField, SealedModel, SealedQuerySet

from .validators import validate_native_redirect_uris, validate_printable, validate_secret


class ProviderCredentialsQuerySet(SealedQuerySet["ProviderCredentials"]):
    def named(self, name: str) -> "ProviderCredentials":
        """The application of that name, from the database that is written to. Raises UnknownCredentials."""
        try:
            return self.using(router.db_for_write(self.model)).get(name=name)
        except self.model.DoesNotExist:
            raise UnknownCredentials(f"no application is named {name!r}") from None

    def chosen(self, names: Collection[str]) -> list["ProviderCredentials"]:
        """The applications of those names, oldest first; without names, all. Raises UnknownCredentials.

        A single string is a TypeError: it would be taken for the names of its letters.
        """
        if isinstance(names, str):
            raise TypeError(f"names is a list of applications, as in [{names!r}]; this is a single string")
        rows = self.using(router.db_for_write(self.model)).order_by("pk")
        found = list(rows.filter(name__in=names) if names else rows)
        if unknown := sorted(set(names) - {application.name for application in found}):
            raise UnknownCredentials(f"no application is named {', '.join(map(repr, unknown))}")
        return found

    def usable(self, flow: str = "code") -> list["ProviderCredentials"]:
        """All applications that offer the flow, and whose network is in SOCIALGRANTS_PROVIDERS, oldest first."""
        known = providers()
        applications = self.filter(provider__in=known).order_by("pk")
        return [application for application in applications if application.offers(flow)]


class ProviderCredentials(SealedModel):
    """One application that was registered at a network.

    `full_clean()` is the one place that says what can be stored; the admin and `sync_credentials` ask it.
    """

    IDENTITY = ("provider", "client_id")
    """What tells one application from another. User ids mean something within one application only."""
    SECRETS = ("client_secret", "client_key")

    name = models.SlugField(
        _("name"), unique=True, help_text=_("How this site's URLs, templates and code call the application.")
    )
    provider = models.CharField(_("network"), max_length=32, choices=provider_choices)
    client_id = models.CharField(_("client id"), max_length=255, validators=[validate_printable])
    client_secret = EncryptedField(
        _("client secret"), blank=True, bound_to=IDENTITY, validators=[validate_secret]
    )
    client_key = EncryptedField(_("client key"), blank=True, bound_to=IDENTITY, validators=[validate_secret])
    scope = models.CharField(
        _("scope"),
        max_length=1000,
        blank=True,
        help_text=_("Permissions to ask for, separated by spaces."),
        validators=[validate_printable],
    )
    implicit_enabled = models.BooleanField(_("implicit grant enabled"), default=False)
    ways = models.CharField(
        _("ways in"),
        max_length=255,
        blank=True,
        help_text=_("Each way in of the network that is named here has a button. Separate them by spaces."),
    )
    native_redirect_uris = models.TextField(
        _("redirect URIs of native apps"),
        blank=True,
        help_text=_("One a line. Native apps may finish their logins with these, and with no others."),
        validators=[validate_native_redirect_uris],
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects = ProviderCredentialsQuerySet.as_manager()

    class Meta:
        # In Russian the admin's sentences about a row ask for a masculine noun, which "приложение" is not.
        verbose_name = pgettext_lazy("a row, in the admin's sentences", "application")
        verbose_name_plural = pgettext_lazy("rows, in the admin", "applications")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        refused = ApplicationHealth.objects.using(self._state.db).filter(
            credentials=self.pk, reason=ApplicationHealth.Reason.INVALID_CLIENT
        )
        refused.update(
            reason="", paused_until=None, version=models.F("version") + 1
        )  # as it may be mended now

    def clean(self) -> None:
        self.ways = " ".join(self.ways.split())
        self.native_redirect_uris = "\n".join(self.native_redirect_uris.split())
        mistakes: dict[str, Any] = {}
        if unknown := self.unknown_ways():
            text = gettext("The network has no way in that is called %(unknown)s; known: %(known)s.")
            known = ", ".join(self.get_provider().ways) or "-"
            mistakes["ways"] = text % {"unknown": ", ".join(unknown), "known": known}
        if not self._state.adding:
            mistakes |= self._other_identity()
        if mistakes:
            raise ValidationError(mistakes)

    def _other_identity(self) -> dict[str, str]:
        """Why this row can't become another application than it is in the database, by field."""
        alias = router.db_for_write(type(self), instance=self)
        rows = ProviderCredentials.objects.using(alias).filter(pk=self.pk)
        if connections[alias].in_atomic_block:
            rows = rows.select_for_update()  # whoever stores a first token waits: see hold()
        stored = rows.values(*self.IDENTITY).first()
        moved = [name for name, value in (stored or {}).items() if value != getattr(self, name)]
        count = self.tokens.using(alias).count() if moved else 0
        text = ngettext(
            "It has %(count)d token of a user, which is worth nothing at another application, where the user's "
            "id may be somebody else's. Add the other application under a name of its own.",
            "It has %(count)d tokens of users, which are worth nothing at another application, where the users' "
            "ids may be those of other people. Add the other application under a name of its own.",
            count,
        )
        return dict.fromkeys(moved, text % {"count": count}) if count else {}

    def hold(self) -> bool:
        """Keep the row what it is until the transaction ends. False if it is gone, or another application by now.

        By a write, which is a lock in every database; first tokens of one application wait for each other here.
        A foreign key is not enough: PostgreSQL looks at it when the transaction ends.
        """
        rows = ProviderCredentials.objects.using(router.db_for_write(type(self)))
        same = rows.filter(pk=self.pk, **{name: getattr(self, name) for name in self.IDENTITY})
        return bool(same.update(name=models.F("name")))

    def unknown_ways(self) -> list[str]:
        """Those of `ways` that the network does not have; empty when the network itself is not known."""
        provider = self.known_provider()
        return [way for way in self.ways.split() if way not in provider.ways] if provider else []

    def ways_in(self) -> list[str]:
        """The ways in that it offers, each with a button, the default one first; [""] if its network has none."""
        ways = self.get_provider().ways
        return [way for way in self.ways.split() if way in ways] or list(ways)[:1] or [""]

    def known_provider(self) -> Provider | None:
        """The network, or None when this site does not know it (any more)."""
        try:
            return self.get_provider()
        except (UnknownProvider, ImproperlyConfigured):  # which a check tells
            return None

    def get_provider(self) -> Provider:
        """The network. Raises UnknownProvider when it is no longer in SOCIALGRANTS_PROVIDERS."""
        return get_provider(self.provider)

    def offers(self, flow: str) -> bool:
        """Whether this application and its network have a flow, "code" or "implicit"."""
        provider = self.get_provider()
        if flow == "implicit":
            return self.implicit_enabled and "token" in provider.response_types
        return "code" in provider.response_types and "authorization_code" in provider.token_endpoints

    def to_value(self) -> Credentials:
        """The credentials as the pure part of this package knows them."""
        return Credentials(self.client_id, self.client_secret, self.client_key)


class ApplicationHealth(models.Model):
    """What the network's token endpoint said lately about an application: shared by all who refresh.

    There is no row for an application that never had trouble.
    """

    class Reason(models.TextChoices):
        """Why an application is paused, or asked for single tokens only."""

        OUTAGE = "outage", _("the network is out of order")
        RATE_LIMITED = "rate_limited", _("the network asked for fewer requests")
        MASS_REVOCATION = (
            "mass_revocation",
            _("many tokens at once were refused, so only single ones are tried"),
        )
        INVALID_CLIENT = "invalid_client", _("the network refused the application's own credentials")

    credentials = models.OneToOneField(
        ProviderCredentials,
        models.CASCADE,
        primary_key=True,
        related_name="health",
        verbose_name=_("application"),
    )
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=64, choices=Reason.choices, blank=True)
    recent = models.CharField(
        _("recent refreshes"), max_length=100, blank=True
    )  # "1" for a refusal, else "0"
    version = models.PositiveBigIntegerField(_("version"), default=0)  # changes with every change

    class Meta:
        verbose_name = _("health of an application")
        verbose_name_plural = _("health of applications")

    def __str__(self) -> str:
        return f"{self.credentials_id}: {self.failures}"
