"""From a grant to a user: redeem it, ask the network whose it is, link that account, log in.

The order is always the same, whatever the grant: nothing that a browser brought says who somebody is, only the
answer to a call that we make ourselves and sign with our application's secret.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth import authenticate, login
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DataError, router, transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils.module_loading import import_string

from django_socialgrants import signals
from django_socialgrants.conf import conf
from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import (
    IdentityTaken,
    InvalidGrant,
    MalformedResponse,
    ProviderError,
    SessionExpired,
    UnsupportedGrant,
)
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import Grant, ImplicitGrant, RefreshTokenGrant
from django_socialgrants.oauth.values import Identity, Token

from . import state
from .contention import decided, reconnect
from .refusal import Refusal


@dataclass(frozen=True)
class Granted:
    """A token together with its proven owner."""

    credentials: ProviderCredentials
    token: Token
    identity: Identity
    grant_type: str
    way: str = ""
    """Way in that was taken, at a network that has several."""


def finish(
    request: HttpRequest, attempt: state.Attempt, credentials: ProviderCredentials, grant: Grant
) -> None:
    """Redeem `grant` and do what `attempt` was started for: log in, or connect the account to the user.

    Raises Refusal or SocialGrantsError; then nobody was logged in and nothing was stored.
    """
    granted = replace(ask(credentials, grant, scope=attempt.scope), way=attempt.way)
    if not request.user.is_authenticated:
        _log_in(request, granted)
    elif attempt.login and not _belongs_to(granted, request.user):
        # Another tab was faster. That is fine for the same user, but no way to connect accounts.
        raise Refusal("user_changed")
    else:
        link(granted, user=request.user)


def ask(credentials: ProviderCredentials, grant: Grant, *, scope: str) -> Granted:
    """What the network grants for `grant`, and whose it is; `scope` is what was asked for.

    Raises Refusal, ProviderError, UnsupportedGrant.
    """
    if isinstance(grant, ImplicitGrant):
        granted = prove(credentials, grant)
    else:
        token = redeem(credentials, grant)
        granted = Granted(credentials, token, identify(credentials, token), grant.grant_type)
    reconnect()
    scope = granted.token.scope or scope  # RFC 6749, section 5.1: unnamed if it is what was asked for
    return replace(granted, token=replace(granted.token, scope=scope))


def redeem(credentials: ProviderCredentials, grant: Grant) -> Token:
    """The token that the network gives for `grant`. Raises ProviderError, UnsupportedGrant."""
    provider, application = credentials.get_provider(), credentials.to_value()
    provider.require_secret(application)
    request = provider.token_request(application, grant)
    return signals.announced_exchange(
        request,
        lambda response: provider.parse_token_response(response, grant),
        provider=provider,
        purpose="refresh" if isinstance(grant, RefreshTokenGrant) else "token",
    )


def prove(credentials: ProviderCredentials, grant: ImplicitGrant) -> Granted:
    """Whose token a browser brought, and what of the rest of its fragment can be believed.

    The token has to answer a call signed with our secret: one that was made for another application does not.
    A refresh token counts only if refreshing with it gives a token of the same user; that one is then kept.
    Raises Refusal, ProviderError.
    """
    provider = credentials.get_provider()
    try:
        token = provider.parse_token(grant.params())
    except Exception as error:  # also what a network's own parser never thought of
        raise Refusal("malformed_callback", detail=type(error).__name__) from None
    try:
        identity = identify(credentials, token)
    except SessionExpired:
        raise InvalidGrant("invalid_grant", "the token is none of this application") from None
    refreshed = _refreshed(credentials, token, identity) if token.refresh_token else None
    return Granted(credentials, refreshed or replace(token, refresh_token=""), identity, grant.grant_type)


def _refreshed(credentials: ProviderCredentials, token: Token, identity: Identity) -> Token | None:
    """What a fragment's refresh token is worth, if it is worth a token of the same user."""
    try:
        refreshed = redeem(credentials, RefreshTokenGrant(token.refresh_token))
        if identify(credentials, refreshed).uid != identity.uid:
            return None
    except (ProviderError, UnsupportedGrant) as error:
        log(
            Event.NOT_KEPT,
            "a refresh token from a fragment is not kept: %s",
            type(error).__name__,
            level=logging.INFO,
            application=credentials.name,
            reason=type(error).__name__,
        )
        return None
    kept = refreshed.refresh_token or token.refresh_token
    return replace(refreshed, refresh_token=kept, scope=refreshed.scope or token.scope)


def identify(credentials: ProviderCredentials, token: Token) -> Identity:
    """Whose token it is, by a call signed with the application's own secret. Raises ProviderError."""
    provider, application = credentials.get_provider(), credentials.to_value()
    provider.require_secret(application)
    request = provider.identity_request(application, token)
    identity = signals.announced_exchange(
        request,
        lambda response: provider.parse_identity_response(response, application),
        provider=provider,
        purpose="identity",
        method=str(request.params.get("method", "")),
    )
    if identity.uid != provider.parse_uid(identity.uid):  # a network's own parser may have forgotten to look
        raise MalformedResponse(f"{provider.title}: the user id is no string")
    if token.uid and token.uid != identity.uid:
        raise MalformedResponse(f"{provider.title}: token and profile name different users")
    return identity


def link(granted: Granted, *, user: User | None = None) -> UserToken:
    """Store what was granted for the user who owns that identity.

    An identity that nobody owns becomes that of `user`; without one a user is made for it, or not, as the
    settings say. Many may try at once: one of them makes user and row in one transaction, the others find
    it. Raises IdentityTaken, Refusal.
    """
    row, recovered = decided(lambda: _link(granted, user))
    signals.send_on_commit(signals.granted, row, recovered=recovered)
    return row


def _link(granted: Granted, user: User | None) -> tuple[UserToken, bool] | None:
    """The row, and whether it needed a login until now; None when it was deleted meanwhile."""
    row = _find(granted)
    if row is None:
        return _create(granted, user), False
    if user is not None and row.user_id != user.pk:
        raise IdentityTaken("that account is connected to another user")
    if not row.user.is_active:
        raise Refusal("inactive_user")
    needed_login = row.state == UserToken.State.NEEDS_LOGIN
    return (row, needed_login) if _replace(row, granted) else None


def _find(granted: Granted) -> UserToken | None:
    tokens = UserToken.objects.using(router.db_for_write(UserToken)).with_time().select_related("user")
    row = tokens.filter(credentials=granted.credentials, uid=granted.identity.uid).first()
    if row is not None:
        row.credentials = granted.credentials
        if row.uid != granted.identity.uid:  # a collation that equates what is not equal
            raise IdentityTaken("an account with a similar id is connected already")
    return row


def _belongs_to(granted: Granted, user: User) -> bool:
    row = _find(granted)
    return row is not None and row.user_id == user.pk


def _create(granted: Granted, user: User | None) -> UserToken:
    """A new row, with a new user when none is given. The first statement is a write: for that SQLite can wait."""
    with transaction.atomic(using=router.db_for_write(UserToken)):
        # By its key, as a user who was read from a replica can't be assigned to a row of another database.
        owner = {"user_id": user.pk} if user else {"user": _make_user(granted)}
        row = UserToken(**owner, credentials=granted.credentials, uid=granted.identity.uid)
        row.apply(_changes(row, granted))
        # It may have become another application while the network was asked; once the row is there, it can't.
        if not granted.credentials.hold():
            raise Refusal("stale_state", detail="the application has become another one")
        row.save(force_insert=True)
    return row


def _make_user(granted: Granted) -> User:
    user: User | None = None
    if conf.CREATE_USERS:
        try:
            user = import_string(conf.USER_FACTORY)(granted.identity, granted.credentials)
        except (DataError, ValidationError) as error:
            fields = ", ".join(getattr(error, "error_dict", {}))
            raise Refusal("no_account", detail=f"{type(error).__name__} {fields}".rstrip()) from error
    if user is None:
        raise Refusal("unknown_identity")
    if not user.is_active:
        raise Refusal("inactive_user")
    return user


def _replace(row: UserToken, granted: Granted) -> bool:
    """Put the new token in place of the old one, if the row still is this user's."""
    changes = row.sealed(_changes(row, granted))
    same = UserToken.objects.filter(pk=row.pk, user_id=row.user_id)
    if not same.update(**changes, generation=F("generation") + 1):
        return False
    row.apply({**changes, "generation": row.generation + 1})
    return True


def _changes(row: UserToken, granted: Granted) -> dict[str, Any]:
    changes = row.changes_by_grant(granted.token, granted.identity, grant_type=granted.grant_type)
    return changes | {"way": granted.way}


def admit(request: HttpRequest | None, granted: Granted) -> tuple[User, UserToken]:
    """Who owns what was granted, and where it is stored. Raises Refusal."""
    user, row = _authenticated(request, granted), _find(granted)
    if row is None:
        raise Refusal("conflict", detail="the row was deleted")
    return user, row


def _log_in(request: HttpRequest, granted: Granted) -> None:
    login(request, _authenticated(request, granted))
    state.logged_in(request)


def _authenticated(request: HttpRequest | None, granted: Granted) -> User:
    """The owner, by Django's own door, so that every backend of the site has its say."""
    user: User | None = authenticate(request, granted=granted)
    if user is None:
        raise Refusal("not_authenticated")
    return user
