"""What users granted."""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models, router
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_socialgrants.conf import conf
from django_socialgrants.events import Event, log
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.reading import seconds
from django_socialgrants.oauth.values import Identity, Token
from django_socialgrants.registry import providers
from django_socialgrants.storage.clock import DatabaseNow, database_time
from django_socialgrants.storage.fields import EncryptedField, SealedModel, SealedQuerySet

from .application import ProviderCredentials


class UserTokenQuerySet(SealedQuerySet["UserToken"]):
    def with_time(self) -> Self:
        """Each token with its application and the database's time, for `UserToken.now`."""
        return self.select_related("credentials").annotate(database_now=DatabaseNow())

    def bulk_create(self, objs: Iterable["UserToken"], *args: Any, **kwargs: Any) -> list["UserToken"]:
        objs = list(objs)
        models.prefetch_related_objects(objs, "credentials")  # of those that have only its id
        clock: tuple[datetime | None, float] = (None, 0)
        for token in objs:
            if token.database_now is None:
                token.database_now, token.read_at = clock  # one of them asks, if any
            token.schedule()
            clock = token.database_now, token.read_at
        return super().bulk_create(objs, *args, **kwargs)


class UserToken(SealedModel):
    """What one user granted to one application: the token of one account at a network."""

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        NEEDS_LOGIN = "needs_login", _("needs login")

    class Reason(models.TextChoices):
        """Why a token needs a login, or what is doubtful about an active one."""

        INVALID_GRANT = "invalid_grant", _("the network refused the refresh token")
        SESSION_EXPIRED = "session_expired", _("the network ended the session")
        EXPIRED = "expired", _("expired, and can't be refreshed")
        REFRESH_EXPIRED = "refresh_expired", _("the refresh token expired")
        AMBIGUOUS_ROTATION = (
            "ambiguous_rotation",
            _("a refresh was cut off, and its new refresh token is lost"),
        )
        IDENTITY_CHANGED = "identity_changed", _("the network answered with somebody else's token")
        OUTCOME_UNKNOWN = "outcome_unknown", _("the last refresh was cut off")
        UNDECIPHERABLE = "undecipherable", _("the stored token can't be decrypted")
        MARKED_BY_ADMIN = "marked_by_admin", _("marked in the admin")
        IMPORTED = "imported", _("imported without a token")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="social_tokens", verbose_name=_("user")
    )
    credentials = models.ForeignKey(
        ProviderCredentials,
        models.CASCADE,
        related_name="tokens",
        db_index=False,  # each index below begins with it
        verbose_name=_("application"),
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
    reason = models.CharField(_("reason"), max_length=64, choices=Reason.choices, blank=True)
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
        indexes = [
            models.Index(fields=["credentials", "next_refresh_at", "id"], name="socialgrants_due"),
            models.Index(
                fields=["credentials", "state", "reason", "refreshed_at"], name="socialgrants_status"
            ),
        ]

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
        if self.state != self.State.ACTIVE or (self.expires_at and self.next_refresh_at):
            return
        if not self.is_refreshable():
            return
        if self.expires_at is None and (provider := self._known_provider()):
            self.expires_at = self.now + timedelta(seconds=provider.default_expires_in)
        if self.next_refresh_at is None and self.expires_at is not None:
            self.next_refresh_at = self.expires_at - self._margin()

    @property
    def now(self) -> datetime:
        """The time by the database's clock, which is asked unless the row was read `with_time()`."""
        if self.database_now is None:
            self.database_now = database_time(self._state.db or router.db_for_write(UserToken))
            self.read_at = time.monotonic()
        return self.database_now + timedelta(seconds=time.monotonic() - self.read_at)

    def _margin(self) -> timedelta:
        """How long before its expiry the token is to be refreshed."""
        if self.expires_at is None:
            return timedelta(0)
        return _margin(self.expires_at - (self.refreshed_at or self.created_at))

    def is_stale(self) -> bool:
        """Whether the token had better be refreshed before it is used: it is about to expire, or has expired."""
        return self.expires_at is not None and self.now >= self.expires_at - self._margin()

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
        return provider is not None and _can_refresh(provider, self.to_value())

    def _known_provider(self) -> Provider | None:
        return providers().get(self.credentials.provider)

    def changes_by_grant(
        self, token: Token, identity: Identity, *, grant_type: str, granted_at: datetime | None = None
    ) -> dict[str, Any]:
        """What a newly granted token changes: values by field, for `apply()` or `sealed()`.

        It was granted now, or at `granted_at`. A stored refresh token is kept when the grant brings none.
        """
        now = granted_at or self.now
        changes = {
            "grant_type": grant_type,
            "session_secret": token.session_secret,
            "device_id": token.device_id,
            "token_type": token.token_type[:64],
            "scope": token.scope[:1000],
            "profile": {**identity.profile, **identity.names(), "email": identity.email},
            "created_at": now,
            "refreshed_at": None,
        }
        return changes | self._changes(token, now, scope=token.scope)

    def changes_by_refresh(self, token: Token) -> dict[str, Any]:
        """What a refreshed token changes: values by field, for `apply()` or `sealed()`.

        What the answer does not name (RFC 6749, section 6) stays as it is.
        """
        now = self.now
        named: dict[str, Any] = {
            "session_secret": token.session_secret,
            "token_type": token.token_type[:64],
            "scope": token.scope[:1000],
        }
        changes = {name: value for name, value in named.items() if value}
        return changes | {"refreshed_at": now} | self._changes(token, now, scope=token.scope or self.scope)

    def _changes(self, token: Token, now: datetime, *, scope: str) -> dict[str, Any]:
        """Access and refresh token with their times; whatever was wrong with the old ones is over."""
        provider = self.credentials.get_provider()
        named = seconds(token.expires_in)
        life = timedelta(seconds=provider.default_expires_in if named is None else named)
        refresh_token = token.refresh_token or self.refresh_token
        is_refreshable = _can_refresh(provider, replace(token, refresh_token=refresh_token, scope=scope))
        changes: dict[str, Any] = {
            "access_token": token.access_token,
            "expires_at": now + life,
            "state": self.State.ACTIVE,
            "reason": "",
            "failures": 0,
            "next_refresh_at": now + life - _margin(life) if is_refreshable else None,
            "lease_owner": "",
            "lease_until": None,
        }
        if token.refresh_token:
            refresh_life = provider.refresh_lifetime
            changes["refresh_token"] = token.refresh_token
            changes["refresh_expires_at"] = now + timedelta(seconds=refresh_life) if refresh_life else None
        return changes

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


def _margin(life: timedelta) -> timedelta:
    """REFRESH_BEFORE, but at most a tenth of a token's life: else a short one would always be about to expire."""
    return max(min(timedelta(seconds=conf.REFRESH_BEFORE), life / 10), timedelta(0))


def _can_refresh(provider: Provider, token: Token) -> bool:
    """What the network's code says; should that fail, no new token is lost for it."""
    try:
        return provider.can_refresh(token)
    except Exception:
        text = "%s can't say whether a token can be refreshed"
        log(Event.NETWORK_CODE, text, provider.title, level=logging.ERROR, reason="can_refresh", trace=True)
        return bool(token.refresh_token)
