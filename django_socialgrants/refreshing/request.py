"""One refresh, for a token whose lease is held: `prepare` decrypts, `carry_out` is nothing but HTTP.

They are apart, and apart from `settlement`, because a run over many tokens lets threads carry out what one thread
prepares and stores.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from secrets import token_urlsafe

from django_socialgrants.exceptions import (
    DecryptionError,
    InvalidClient,
    InvalidGrant,
    MalformedResponse,
    ProviderUnavailable,
    UnsupportedGrant,
)
from django_socialgrants.models import UserToken
from django_socialgrants.oauth.grants import RefreshTokenGrant
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Circuit, Credentials, Request, Response, Secret, Token, reveal
from django_socialgrants.signals import announced_exchange

REFRESH_EXPIRED = "refresh_expired"


@dataclass(frozen=True)
class Renewal:
    """A refresh that is ready to be sent."""

    token: UserToken
    request: Request
    parse: Callable[[Response], Token]
    purpose: str = "refresh"
    method: str = ""


@dataclass(frozen=True)
class Answer:
    """What came of sending it: a token or an error; `doubtful` if an earlier try may have been carried out."""

    token: Token | None = None
    error: Exception | None = None
    doubtful: bool = False


def unsealed(credentials: Credentials) -> Credentials:
    """The same with its secrets decrypted. Raises DecryptionError."""
    return replace(
        credentials,
        client_secret=Secret(reveal(credentials.client_secret)),
        client_key=Secret(reveal(credentials.client_key)),
    )


def prepare(token: UserToken, credentials: Credentials) -> Renewal | Answer:
    """The refresh of `token`, or what there is to say without sending anything."""
    if token.refresh_expires_at is not None and token.refresh_expires_at <= token.now:
        return Answer(error=InvalidGrant(REFRESH_EXPIRED))
    provider = token.credentials.get_provider()
    try:
        provider.require_secret(credentials)
        if "refresh_token" in provider.token_endpoints and token.refresh_token:
            device_id = token.device_id.reveal() if token.device_id else ""
            grant = RefreshTokenGrant(token.refresh_token.reveal(), device_id, token_urlsafe(32))
            request = provider.token_request(credentials, grant)
            return Renewal(token, request, lambda response: provider.parse_token_response(response, grant))
        return _keep_alive(token, credentials, provider)
    except (DecryptionError, InvalidClient, UnsupportedGrant, ValueError) as error:
        return Answer(error=error)


def _keep_alive(token: UserToken, credentials: Credentials, provider: Provider) -> Renewal:
    """The call that prolongs a token without refresh token; afterwards it is the same token, with a new life."""
    prolonged = Token(token.access_token.reveal(), expires_in=provider.keep_alive_lifetime)
    call = provider.keep_alive_call(token.to_value())
    if call is None:
        raise UnsupportedGrant(f"{provider.title} can't prolong this token")
    method, params = call
    request = provider.api_request(
        credentials, prolonged, method, provider.encoded(params), Circuit.SERVER_SERVER
    )

    def parse(response: Response) -> Token:
        provider.parse_api(response)
        return prolonged

    return Renewal(token, request, parse, purpose="keep_alive", method=call[0])


def carry_out(renewal: Renewal, *, may_repeat: Callable[[], bool] = lambda: True) -> Answer:
    """Send it; a request whose outcome is unknown is repeated once, if by then `may_repeat` agrees.

    Raises nothing, touches no database.
    """
    answer = _send(renewal)
    if not _is_unknown(answer.error):
        return answer
    return replace(_send(renewal) if may_repeat() else answer, doubtful=True)


def _send(renewal: Renewal) -> Answer:
    try:
        token = announced_exchange(
            renewal.request,
            renewal.parse,
            provider=renewal.token.credentials.get_provider(),
            purpose=renewal.purpose,
            method=renewal.method,
        )
        return Answer(token=token)
    except Exception as error:
        return Answer(error=error)


def _is_unknown(error: Exception | None) -> bool:
    """Whether the network may have done what was asked without our hearing of it."""
    if isinstance(error, ProviderUnavailable):
        return error.sent and error.status is None
    return isinstance(error, MalformedResponse)
