"""One refresh, for a token whose lease is held: `prepare` decrypts, `carry_out` is nothing but HTTP.

They are apart, and apart from `settlement`, because a run over many tokens lets threads carry out what one thread
prepares and stores. Whatever a network's own code raises is the reply to that one token.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_urlsafe

from django_socialgrants.exceptions import (
    InvalidGrant,
    MalformedResponse,
    ProviderUnavailable,
    SessionExpired,
    UnsupportedGrant,
)
from django_socialgrants.models import UserToken
from django_socialgrants.oauth.grants import RefreshTokenGrant
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Request, Response, Secret, Token, reveal
from django_socialgrants.signals import announced_exchange


@dataclass(frozen=True)
class Renewal:
    """A refresh that is ready to be sent; `otherwise` makes what to send if the refresh token is refused."""

    token: UserToken
    request: Request
    parse: Callable[[Response], Token]
    purpose: str = "refresh"
    method: str = ""
    otherwise: Callable[[], "Renewal"] | None = None
    is_repeatable: bool = True


@dataclass(frozen=True)
class Reply:
    """What came of a refresh: a token or an error; `doubtful` if an earlier try may have been carried out."""

    token: Token | None = None
    error: BaseException | None = None
    doubtful: bool = False


class TooEarly(ProviderUnavailable):
    """Nothing was sent: the answer to the last refresh was lost, and to repeat it may kill a token that works."""


def unsealed(credentials: Credentials) -> Credentials:
    """The same with its secrets decrypted. Raises DecryptionError."""
    return replace(
        credentials,
        client_secret=Secret(reveal(credentials.client_secret)),
        client_key=Secret(reveal(credentials.client_key)),
    )


def prepare(token: UserToken, credentials: Credentials, *, works: bool | None = None) -> Renewal | Reply:
    """The refresh of `token`, or what there is to say without sending anything.

    `works` says whether the network still accepts the access token, if more is known than its expiry tells.
    """
    try:
        return _prepare(token, credentials, token.is_valid() if works is None else works)
    except Exception as error:
        return Reply(error=error)


def _prepare(token: UserToken, credentials: Credentials, works: bool) -> Renewal:
    provider = token.credentials.get_provider()
    provider.require_secret(credentials)
    if not (token.refresh_token and "refresh_token" in provider.token_endpoints):
        return _keep_alive(token, credentials, provider)
    if provider.reuse_is_fatal and works and token.reason == UserToken.Reason.OUTCOME_UNKNOWN:
        raise TooEarly("the answer to the last refresh was lost: it is repeated when the token has expired")
    device_id = token.device_id.reveal() if token.device_id else ""
    state = token_urlsafe(32) if provider.echoes_state else ""
    grant = RefreshTokenGrant(token.refresh_token.reveal(), device_id, state)
    request = provider.token_request(credentials, grant)
    return Renewal(
        token,
        request,
        lambda response: provider.parse_token_response(response, grant),
        otherwise=partial(_keep_alive, token, credentials, provider) if token.scope else None,
        is_repeatable=not provider.reuse_is_fatal,
    )


def _keep_alive(token: UserToken, credentials: Credentials, provider: Provider) -> Renewal:
    """The call that prolongs a token without refresh token; afterwards it is the same token, with a new life."""
    call = provider.keep_alive_call(token.to_value())
    if call is None:
        raise UnsupportedGrant(f"{provider.title} can't prolong this token")
    prolonged = Token(token.access_token.reveal(), expires_in=provider.keep_alive_lifetime)
    method, params = call
    request = provider.api_request(
        credentials, prolonged, method, provider.encoded(params), Circuit.SERVER_SERVER
    )

    def parse(response: Response) -> Token:
        provider.parse_api(response)
        return prolonged

    return Renewal(token, request, parse, purpose="keep_alive", method=call[0])


def carry_out(renewal: Renewal, *, may_repeat: Callable[[], bool] = lambda: True) -> Reply:
    """Send it; a request whose outcome is unknown is repeated once, if by then `may_repeat` agrees.

    Raises no Exception, touches no database.
    """
    reply = _send(renewal)
    if _is_unknown(reply.error):
        again = _send(renewal) if renewal.is_repeatable and may_repeat() else reply
        reply = replace(again, doubtful=True)
    if renewal.otherwise is not None and isinstance(reply.error, InvalidGrant):
        prolonged = _prolong(renewal.otherwise)
        return reply if isinstance(prolonged.error, (SessionExpired, UnsupportedGrant)) else prolonged
    return reply


def _send(renewal: Renewal) -> Reply:
    try:
        token = announced_exchange(
            renewal.request,
            renewal.parse,
            provider=renewal.token.credentials.get_provider(),
            purpose=renewal.purpose,
            method=renewal.method,
        )
        return Reply(token=token)
    except Exception as error:
        return Reply(error=error)


def _prolong(keep_alive: Callable[[], Renewal]) -> Reply:
    try:
        return _send(keep_alive())
    except Exception as error:
        return Reply(error=error)


def _is_unknown(error: BaseException | None) -> bool:
    """Whether the network may have done what was asked without our hearing of it."""
    if isinstance(error, ProviderUnavailable):
        return error.sent and error.status is None
    return isinstance(error, MalformedResponse)
