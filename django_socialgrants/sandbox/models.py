"""What the networks keep in their databases.

Secrets are stored in plain text here, on purpose: everything in these tables is made up, and it helps to
read it while debugging a login. All state is here and none in the process, so any number of servers may share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from .networks import NETWORKS, Network


class Application(models.Model):
    """An application as somebody registered it at a network."""

    network = models.CharField(max_length=8)
    client_id = models.CharField(max_length=32)
    client_secret = models.CharField(max_length=64)
    """VK ID calls it the service token."""
    client_key = models.CharField(max_length=64)
    """Signs calls; at a network that wants no signatures it is good for nothing."""
    name = models.CharField(max_length=100)
    redirect_uris = models.JSONField(default=list)
    implicit_enabled = models.BooleanField(default=False)
    """Whether response_type=token is allowed; OK calls that "client OAuth"."""
    password_enabled = models.BooleanField(default=False)
    """Whether the password grant is allowed; both networks make that an exception."""
    rotation = models.CharField(max_length=8, blank=True)
    """A `Rotation` for this application; empty = as its network does."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("network", "client_id"), name="sandbox_client_id"),
            models.UniqueConstraint(fields=("network", "client_key"), name="sandbox_client_key"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.network} {self.client_id})"

    @property
    def rules(self) -> Network:
        return NETWORKS[self.network]

    @classmethod
    def find(cls, network: Network, *, client_id: str = "", client_key: str = "") -> Application | None:
        """The application of the network with this id, or this key."""
        name, value = ("client_id", client_id) if client_id else ("client_key", client_key)
        if not _searchable(value):
            return None
        found = cls.objects.filter(network=network.id, **{name: value}).first()
        return found if found and getattr(found, name) == value else None

    def allows_redirect(self, redirect_uri: str) -> bool:
        """Whether the address is a registered one, character by character, and can take parameters."""
        if "#" in redirect_uri:  # RFC 6749, section 3.1.2: it must not include a fragment
            return False
        if not self.rules.ignores_redirect_query:
            return redirect_uri in self.redirect_uris
        return _without_query(redirect_uri) in map(_without_query, self.redirect_uris)

    def is_named_by(self, form: Mapping[str, str]) -> bool:
        """Whether the secret in a token request, if it holds one, is that of this application."""
        name = self.rules.secret_parameter
        return name not in form or self.has_secret(form[name])

    def has_secret(self, secret: str) -> bool:
        return constant_time_compare(self.client_secret, secret)


class Issued(models.Model):
    """What a code and both kinds of token have in common: a person granted it to an application, for a time."""

    value = models.CharField(max_length=255, unique=True)
    application = models.ForeignKey(Application, on_delete=models.CASCADE)
    uid = models.CharField(max_length=20)
    scope = models.CharField(max_length=255, blank=True)
    expires_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)
    """When it stopped to work before its time: a code was used, a refresh token replaced, a session ended."""

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} of {self.uid} for {self.application}"

    @classmethod
    def issue(cls, application: Application, uid: str, scope: str, lifetime: timedelta, **more: Any) -> Self:
        """A new one with a random value."""
        return cls._default_manager.create(
            value=application.rules.new_value(),
            application=application,
            uid=uid,
            scope=scope,
            expires_at=timezone.now() + lifetime,
            **more,
        )

    @classmethod
    def find(cls, application: Application, value: str) -> Self | None:
        """The one with this value that was issued to this application, dead or alive."""
        if not _searchable(value):
            return None
        found = cls._default_manager.filter(application=application, value=value).first()
        return found if found and found.value == value else None

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.scope.split())

    @property
    def alive(self) -> bool:
        return self.retired_at is None and timezone.now() < self.expires_at

    def retire(self) -> bool:
        """End it now. True for one caller only, however many try at once: this UPDATE decides the race."""
        still_valid = type(self)._default_manager.filter(pk=self.pk, retired_at=None)
        return still_valid.update(retired_at=timezone.now()) == 1


class Code(Issued):
    """An authorization code: works once, with the redirect_uri that it was sent to."""

    redirect_uri = models.TextField()
    code_challenge = models.CharField(max_length=64, blank=True)
    """That of RFC 7636 with S256; empty = none was sent."""
    device_id = models.CharField(max_length=64, blank=True)
    """Which device the grant belongs to, at networks that tell them apart."""
    refreshable = models.BooleanField(default=True)
    """Whether a refresh token comes with what it is exchanged for."""


class AccessToken(Issued):
    """What REST calls are made with; both networks also call it the session key."""

    session_secret = models.CharField(max_length=64, blank=True)
    """Signs calls in OK's client circuit; empty where the session has none."""

    @property
    def lifetime(self) -> timedelta:
        """Counted from when it was issued or last prolonged."""
        return self.application.rules.access_lifetime_of(self.scopes)

    def prolong(self) -> None:
        """Let it live its lifetime again from now on, unless it ended meanwhile."""
        still_valid = AccessToken.objects.filter(pk=self.pk, retired_at=None)
        still_valid.update(expires_at=timezone.now() + self.lifetime)


class RefreshToken(Issued):
    """What is exchanged for new access tokens."""

    access = models.ForeignKey(AccessToken, null=True, on_delete=models.SET_NULL)
    """The access token that was issued together with it."""
    device_id = models.CharField(max_length=64, blank=True)
    predecessor = models.OneToOneField("self", null=True, on_delete=models.SET_NULL)
    """The refresh token that it was got with; None for the first one of a grant."""


class Rehearsal(models.Model):
    """A failure that a network plays to every application: see `failures` and `rehearsal`."""

    network = models.CharField(max_length=8, unique=True)
    failure = models.CharField(max_length=32)
    seconds = models.PositiveIntegerField(null=True)
    """What the failure needs to know: how slow, or when to come again."""
    remaining = models.PositiveIntegerField(null=True)
    """How many requests are still to fail; None = any number."""
    until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.network}: {self.failure}"

    def take(self) -> bool:
        """Use it for one request. True for as many callers as there are requests to fail, however many try."""
        if self.remaining is None:
            return True
        left = Rehearsal.objects.filter(pk=self.pk, remaining__gt=0)
        return left.update(remaining=models.F("remaining") - 1) == 1


def _searchable(value: str) -> bool:
    """Whether a database may be asked for it: PostgreSQL refuses NUL.

    Callers compare what was found once more, as some collations hold "a" and "A" to be equal.
    """
    return bool(value) and "\0" not in value


def _without_query(address: str) -> str:
    return address.partition("?")[0]
