"""Signed calls in a user's name, always with a fresh token.

api = SocialAPI(request.user, "ok")
api.friends.get(fields="uid,name")           # the network's method, as attributes
api.call("friends.get", fields="uid,name")   # the same, by name
await api.acall("friends.get", fields="uid,name")
await api.friends.get.acall(fields="uid,name")
"""

import time
from contextlib import suppress
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.db import router

from .exceptions import NeedsLogin, SocialGrantsError
from .flows.accounts import forget
from .flows.call import call_fresh
from .flows.kept_query import latest_token
from .flows.refresh import usable
from .flows.status import status
from .models import ProviderCredentials, UserToken
from .oauth.parameters import check_method, check_names
from .oauth.values import Circuit

__all__ = ["Circuit", "SocialAPI", "disconnect", "status"]

_REREAD_AFTER = 60  # seconds: an object that outlives a request must hear of what its user does meanwhile


class Method:
    """A method of the network, or the first words of its name."""

    do_not_call_in_templates = True  # the first word alone would be called

    def __init__(self, api: "SocialAPI", name: str) -> None:
        self._api = api
        self._name = name

    def __getattr__(self, name: str) -> "Method":
        return Method(self._api, f"{self._name}.{_public(name)}")

    def __call__(self, /, **params: Any) -> Any:
        return self._api.call(self._name, **params)

    async def acall(self, /, **params: Any) -> Any:
        return await self._api.acall(self._name, **params)

    def __repr__(self) -> str:
        return f"<{self._name} of {self._api!r}>"


class SocialAPI:
    """The REST API of the network of the application `name`, with the token that `user` granted to it.

    `uid` chooses among several accounts; without it the one that was granted most recently is meant. `circuit` (a
    `Circuit` or its value) says which secret signs; by default the application's own if it has one.

    Nothing is read or sent before the first call. That reads the token, with one query; the following ones use it
    until it has to be refreshed.
    """

    def __init__(
        self,
        user: User | AnonymousUser,
        name: str,
        *,
        uid: str | int | None = None,
        circuit: Circuit | str | None = None,
    ) -> None:
        self.user = user
        self._application = name
        self._uid = None if uid is None else str(uid)
        self._circuit = None if circuit is None else Circuit(circuit)
        self._token: UserToken | None = None

    def call(self, method: str, /, **params: Any) -> Any:
        """The result of the network's `method`: whatever its JSON holds.

        Raises, all of them SocialGrantsError:

        * NeedsLogin: only the user can help, by granting again; `reason` says why
        * APIError: the network refuses the call, among them PermissionDenied, RateLimited, InvalidSignature,
          SessionExpired (also right after a refresh)
        * ProviderUnavailable, MalformedResponse: no usable answer
        * OAuthError, for an expired token: the refresh was refused, as by InvalidClient
        * UnknownCredentials, DecryptionError, UnsafeTransaction

        and ValueError, before anything is sent, for a parameter that is reserved or has no form on the wire.
        """
        check_method(method)
        check_names(params)
        result, self._token = call_fresh(self._current(), method, params, circuit=self._circuit)
        return result

    async def acall(self, method: str, /, **params: Any) -> Any:
        """`call()` for async code."""
        return await sync_to_async(partial(self.call, method, **params))()

    def is_granted(self, scope: str = "") -> bool:
        """Whether the user has granted everything in `scope` (separated by spaces), and need not do it again."""
        try:
            token = self._current()
        except NeedsLogin:
            return False
        if token.state != UserToken.State.ACTIVE or not (token.is_valid() or token.is_refreshable()):
            return False
        return set(scope.split()) <= set(token.scope.split())

    def granted_scope(self) -> str:
        """What the user has granted, separated by spaces; "" if nothing."""
        try:
            return self._current().scope
        except NeedsLogin:
            return ""

    def __getattr__(self, name: str) -> Method:
        return Method(self, _public(name))

    def __repr__(self) -> str:
        return f"<SocialAPI {self._application!r}>"

    def _current(self) -> UserToken:
        token = self._token
        if token is None or time.monotonic() - token.read_at > _REREAD_AFTER:
            token = self._token = self._read()
        return token

    def _read(self) -> UserToken:
        if not self.user.is_authenticated:
            raise self._needs_login("nobody is logged in", "anonymous")
        if not self.user.is_active:
            raise self._needs_login("the user is not active", "inactive_user")
        token = latest_token(self.user.pk, self._application, uid=self._uid)
        if token is None:
            stored = ProviderCredentials.objects.using(router.db_for_write(ProviderCredentials))
            stored.named(self._application)
            message = f"the user has not granted access to {self._application!r}"
            raise self._needs_login(message, "no_token")
        return token

    def _needs_login(self, message: str, reason: str) -> NeedsLogin:
        return NeedsLogin(message, reason=reason, application=self._application)


def disconnect(user: User | AnonymousUser, name: str | None = None) -> int:
    """Forget what `user` granted, to the application `name` or to all; how many tokens that were.

    Also the last way to log in: this is for a site's own "delete my account". Once the caller's transaction is
    committed, a network that offers revocation is told. Raises UnknownCredentials.
    """
    return forget(user, name)


def refresh_ahead(api: SocialAPI) -> None:
    """Refresh a stale token now rather than in the next call, which will also tell what went wrong here."""
    with suppress(SocialGrantsError):
        api._token = usable(api._current())


def _public(name: str) -> str:
    """`name` as part of a method's name; what Python or a debugger asks for is none."""
    if name.startswith("_"):
        raise AttributeError(name)
    return name
