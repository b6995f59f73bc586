"""What users granted."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_socialgrants.conf import conf
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.reading import seconds
from django_socialgrants.oauth.values import Identity, Token
from django_socialgrants.registry import providers
from django_socialgrants.storage.clock import DatabaseNow
from django_socialgrants.storage.fields import EncryptedField, SealedModel, SealedQuerySet

from .application import ProviderCredentials


class UserTokenQuerySet(SealedQuerySet["UserToken"]):
    def with_time(self) -> Self:
        """Each token with its application and the database's time, for `UserToken.now`."""
        return self.select_related("credentials").annotate(database_now=DatabaseNow())

    def bulk_create(self, objs: Iterable["UserToken"], *args: Any, **kwargs: Any) -> list["UserToken"]:
        objs = list(objs)
        models.prefetch_related_objects(objs, "credentials")  # of those that have only its id
        for token in objs:
            token.schedule()
        return super().bulk_create(objs, *args, **kwargs)


class UserToken(SealedModel):
    """What one user granted to one application: the token of one account at a network."""

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        NEEDS_LOGIN = "needs_login", _("needs login")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="social_tokens", verbose_name=_("user")
    )
    credentials = models.ForeignKey(
        ProviderCredentials, models.CASCADE, related_name="tokens", verbose_name=_("application")
    )
    uid = models.CharField(_("user id at the network"), max_length=255)
    grant_type = models.CharField(_("grant type"), max_length=32)
    access_token = EncryptedField(_("access token"), bound_to=["credentials_id", "uid"])
    refresh_token = EncryptedField(_("refresh token"), blank=True, bound_to=["credentials_id", "uid"])
    session_secret = EncryptedField(_("session secret"), blank=True, bound_to=["credentials_id", "uid"])
    device_id = EncryptedField(_("device id"), blank=True, bound_to=["credentials_id", "uid"])
    way = models.CharField(_("way in"), max_length=32, blank=True)
    token_type = models.CharField(_("token type"), max_length=64, blank=True)
    scope = models.CharField(_("scope"), max_length=1000, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    refresh_expires_at = models.DateTimeField(_("refresh token expires at"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.ACTIVE)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    next_refresh_at = models.DateTimeField(_("next refresh at"), null=True, blank=True)
    generation = models.PositiveBigIntegerField(_("generation"), default=0)
    lease_owner = models.CharField(_("lease owner"), max_length=64, blank=True)
    lease_until = models.DateTimeField(_("leased until"), null=True, blank=True)
    profile = models.JSONField(_("profile"), default=dict, blank=True)
    created_at = models.DateTimeField(_("granted at"), default=timezone.now)
    refreshed_at = models.DateTimeField(_("refreshed at"), null=True, blank=True)

    objects = UserTokenQuerySet.as_manager()

    database_now: datetime | None = None  # when the row was read, if with_time() asked for it
    read_at: float = 0

    class Meta:
        verbose_name = _("user token")
        verbose_name_plural = _("user tokens")
        constraints = [
            models.UniqueConstraint(fields=["credentials", "uid"], name="socialgrants_one_identity")
        ]
        indexes = [models.Index(fields=["credentials", "next_refresh_at", "id"], name="socialgrants_due")]

    def __str__(self) -> str:
        return f"{self.credentials_id}:{self.uid}"

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        token = super().from_db(*args, **kwargs)
        token.read_at = time.monotonic()
        return token

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        before = self.expires_at, self.next_refresh_at
        self.schedule()
        if update_fields is not None and before != (self.expires_at, self.next_refresh_at):
            update_fields = {*update_fields, "expires_at", "next_refresh_at"}
        super().save(*args, update_fields=update_fields, **kwargs)

    def schedule(self) -> None:
        """Fill in when the token expires and when to refresh it, where that is not said and not pointless.

        Called before every insert and save; a time that is set already stays.
        """
        if self.state != self.State.ACTIVE or not self.is_refreshable():
            return
        if self.expires_at is None and (provider := self._known_provider()):
            self.expires_at = timezone.now() + timedelta(seconds=provider.default_expires_in)
        if self.next_refresh_at is None and self.expires_at is not None:
            self.next_refresh_at = self.expires_at - timedelta(seconds=conf.REFRESH_BEFORE)

    @property
    def now(self) -> datetime:
        """The time by the database's clock, or by this host's for a row that was not read with it."""
        if self.database_now is None:
            return timezone.now()
        return self.database_now + timedelta(seconds=time.monotonic() - self.read_at)

    def is_valid(self, *, seconds: float = 0) -> bool:
        """Whether the access token lives for at least so many seconds more, as far as its expiry tells."""
        return self.expires_at is None or self.now + timedelta(seconds=seconds) < self.expires_at

    def is_backing_off(self) -> bool:
        """Whether refreshes have failed, and the time for the next try has not come."""
        return self.failures > 0 and self.next_refresh_at is not None and self.now < self.next_refresh_at

    @property
    def network(self) -> str:
        """What people call the network, or the application's name if the network is no longer known."""
        provider = self.credentials.known_provider()
        return provider.title if provider else self.credentials.name

    @property
    def way_in(self) -> str:
        """How the user came in, in words: "VK ID, through OK", or just the network by its own way."""
        provider = self.credentials.known_provider()
        way = provider.ways.get(self.way, provider.title) if provider else self.network
        names = {"network": self.network, "way": way}
        return self.network if way == self.network else gettext("%(network)s, through %(way)s") % names

    def is_refreshable(self) -> bool:
        """Whether anything can prolong this token without its user."""
        if not (self.refresh_token or self.scope):
            return False  # seen without asking what the network can do, which may cost a query
        provider = self._known_provider()
        return provider is not None and provider.can_refresh(self.to_value())

    def _known_provider(self) -> Provider | None:
        return providers().get(self.credentials.provider)

    def take(self, token: Token, identity: Identity, *, grant_type: str) -> list[str]:
        """Put a newly granted token in place of whatever this row holds; the names of the changed fields.

        Only in memory. A stored refresh token is kept when the grant brings none.
        """
        now = timezone.now()
        return self._put(
            token,
            now,
            grant_type=grant_type,
            session_secret=token.session_secret,
            device_id=token.device_id,
            token_type=token.token_type[:64],
            scope=token.scope[:1000],
            profile={**identity.profile, **identity.names(), "email": identity.email},
            created_at=now,
            refreshed_at=None,
        )

    def renew(self, token: Token) -> list[str]:
        """Put a refreshed token in place of this one; the names of the changed fields.

        Only in memory. What the answer does not name (RFC 6749, section 6) stays as it is.
        """
        named = {
            "session_secret": token.session_secret,
            "token_type": token.token_type[:64],
            "scope": token.scope[:1000],
        }
        now = self.now
        return self._put(
            token, now, refreshed_at=now, **{name: value for name, value in named.items() if value}
        )

    def _put(self, token: Token, now: datetime, **changes: Any) -> list[str]:
        """Set access and refresh token, their times and `changes`; whatever was wrong with the old one is over."""
        provider = self.credentials.get_provider()
        life = seconds(token.expires_in)
        changes |= {
            "access_token": token.access_token,
            "expires_at": now + timedelta(seconds=provider.default_expires_in if life is None else life),
            "state": self.State.ACTIVE,
            "reason": "",
            "failures": 0,
            "next_refresh_at": None,
            "lease_owner": "",
            "lease_until": None,
        }
        if token.refresh_token:
            life = provider.refresh_lifetime
            changes["refresh_token"] = token.refresh_token
            changes["refresh_expires_at"] = now + timedelta(seconds=life) if life else None
        for name, value in changes.items():
            setattr(self, name, value)
        self.schedule()
        return list(changes)

    def to_value(self) -> Token:
        """The token as the pure part of this package knows it."""
        return Token(
            access_token=self.access_token,
            refresh_token=self.refresh_token,
            uid=self.uid,
            session_secret=self.session_secret,
            scope=self.scope,
            token_type=self.token_type,
            device_id=self.device_id,
        )
