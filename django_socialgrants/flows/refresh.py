"""A token that can be used now: refreshed on demand, by one of the many who may want it at the same time."""

import time

from django.db import OperationalError

from django_socialgrants import signals
from django_socialgrants.conf import conf
from django_socialgrants.exceptions import (
    DecryptionError,
    MalformedResponse,
    NeedsLogin,
    ProviderError,
    ProviderUnavailable,
    UnsafeTransaction,
)
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Credentials

from . import health
from .autocommit import autocommit, persistently
from .lease import claim, free, new_owner, stored
from .renewal import Answer, Renewal, Verdict, carry_out, judge, learn, prepare, store, unsealed

_FIRST_POLL, _LAST_POLL = 0.02, 0.25  # seconds


def usable(token: UserToken) -> UserToken:
    """`token` itself or its successor, with an access token that can be used now.

    `token` was read `with_time()`. Raises NeedsLogin when only its user can help, UnsafeTransaction where a
    refresh could be undone, and ProviderError or DecryptionError when one fails and the token has expired.
    """
    _require_active(token)
    if token.is_valid(seconds=conf.REFRESH_BEFORE):
        return token
    if not token.is_refreshable():
        return token if token.is_valid() else _give_up(token, "expired")
    if token.is_valid() and token.is_backing_off():
        return token
    try:
        return _successor(token)
    except (ProviderError, DecryptionError):
        if token.is_valid():
            return token
        raise


def renewed(token: UserToken) -> UserToken:
    """The successor of `token`, which the network does not accept any more, whatever its expiry says.

    Raises NeedsLogin, UnsafeTransaction, ProviderError, DecryptionError.
    """
    _require_active(token)
    return _successor(token) if token.is_refreshable() else _give_up(token, "session_expired")


def _successor(token: UserToken) -> UserToken:
    """What this or another process makes of `token`."""
    ends = time.monotonic() + conf.TIMEOUT
    credentials = unsealed(token.credentials.to_value())
    while True:
        current, known = _claim_or_wait(token, ends)
        if known is None:
            return current
        verdict, answer = _refresh(current, credentials, known)
        if verdict is Verdict.REFRESHED:
            return current
        if verdict is Verdict.NEEDS_LOGIN:
            raise _needs_login(current, current.reason)
        if verdict is not Verdict.SUPERSEDED:  # then somebody else's work is found in the next round
            raise answer.error or MalformedResponse("the network's answer can't be used")


def _claim_or_wait(token: UserToken, ends: float) -> tuple[UserToken, health.Health | None]:
    """The row of `token`, claimed, and how its application fares; or with None the row that somebody refreshed.

    Waits while somebody else holds the lease. Raises NeedsLogin, ProviderUnavailable, UnsafeTransaction.
    """
    rows = stored().filter(pk=token.pk)
    pause = _FIRST_POLL
    with autocommit() as separate:
        try:
            while True:
                if rows.filter(free()).exists():
                    known = _fit(token.credentials)
                    mine = claim(rows.filter(generation=token.generation), new_owner())
                else:
                    known, mine = None, 0
                current = rows.with_time().first()
                if current is None and separate:
                    raise UnsafeTransaction(
                        "a token can't be refreshed in the transaction that has stored it"
                    )
                if current is None:
                    raise _needs_login(token, "no_token")
                _require_active(current)
                if mine:
                    return current, known
                if current.generation != token.generation:
                    return current, None
                if current.failures > token.failures:
                    raise ProviderUnavailable("somebody else has just tried in vain to refresh this token")
                if time.monotonic() + pause > ends:
                    raise ProviderUnavailable("somebody else has been refreshing this token for too long")
                time.sleep(pause)
                pause = min(2 * pause, _LAST_POLL)
        except OperationalError as error:
            if not separate:
                raise
            raise UnsafeTransaction(
                "a token can't be refreshed: the transaction around the call has locked its row, or the database"
            ) from error


def _fit(credentials: ProviderCredentials) -> health.Health:
    known = health.health(credentials)
    if known.pause:
        raise ProviderUnavailable(
            f"refreshes for {credentials.name!r} are paused", retry_after=int(known.pause) + 1
        )
    return known


def _refresh(token: UserToken, credentials: Credentials, known: health.Health) -> tuple[Verdict, Answer]:
    """Refresh a claimed token and write down what came of it, for itself and for its application."""
    prepared = prepare(token, credentials)
    answer = carry_out(prepared) if isinstance(prepared, Renewal) else prepared
    verdict, reason = judge(token, answer)
    if verdict is Verdict.NEEDS_LOGIN and known.revoked:
        verdict = Verdict.HELD_BACK
    verdict = store(token, verdict, reason, answer)
    learn(token.credentials, verdict, answer, known)
    return verdict, answer


def _require_active(token: UserToken) -> None:
    if token.state != UserToken.State.ACTIVE:
        raise _needs_login(token, token.reason)


def _give_up(token: UserToken, reason: str) -> UserToken:
    """Mark a token that nothing can prolong, and raise NeedsLogin; or its successor, if its user was faster."""
    rows = stored().filter(pk=token.pk, state=UserToken.State.ACTIVE)
    dead = rows.filter(generation=token.generation)
    marks = {"state": UserToken.State.NEEDS_LOGIN, "reason": reason, "next_refresh_at": None}
    try:
        if persistently(lambda: dead.update(**marks)):
            for name, value in marks.items():
                setattr(token, name, value)
            signals.send(signals.needs_login, token)
        elif successor := rows.exclude(generation=token.generation).with_time().first():
            return successor
    except UnsafeTransaction:
        pass  # it is marked by the next call that is in no transaction
    raise _needs_login(token, reason)


def _needs_login(token: UserToken, reason: str) -> NeedsLogin:
    name = token.credentials.name
    return NeedsLogin(f"the user must grant access to {name!r} again: {reason}", reason=reason)
