"""A signed call of a network's REST API, in the name of whom the token belongs to."""

from collections.abc import Callable, Mapping
from typing import Any

from django_socialgrants.exceptions import APIError, SessionExpired
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Circuit, Token
from django_socialgrants.signals import announced_exchange

from .refresh import renewed, usable


def call_fresh(
    token: UserToken, method: str, params: Mapping[str, Any], *, circuit: Circuit | None
) -> tuple[Any, UserToken]:
    """The result of the network's `method`, and the token that was good for it.

    A stale token is refreshed first. One that the network calls expired is refreshed, unless it is new, and the
    call repeated: at most a call, a refresh and a call, which take 4 * SOCIALGRANTS_TIMEOUT. `circuit` None = the
    application's own secret if it has one. Raises as `flows.refresh.usable` and `call`.
    """
    current = usable(token)
    try:
        return _call_with(current, method, params, circuit), current
    except SessionExpired:
        if current.generation != token.generation:
            raise
    # Outside of the handler, whose error is no context of what happens next.
    current = renewed(current)
    return _call_with(current, method, params, circuit), current


def _call_with(token: UserToken, method: str, params: Mapping[str, Any], circuit: Circuit | None) -> Any:
    credentials = token.credentials
    if circuit is None:
        circuit = Circuit.SERVER_SERVER if credentials.client_secret else Circuit.CLIENT_SERVER
    return call(credentials, token.to_value(), method, params, circuit=circuit)


def call(
    credentials: ProviderCredentials,
    token: Token,
    method: str,
    params: Mapping[str, Any],
    *,
    circuit: Circuit = Circuit.SERVER_SERVER,
    parse: Callable[[Any], Any] = lambda result: result,
) -> Any:
    """What `parse` makes of the result of the network's `method`.

    Raises ProviderError, or ValueError as `Provider.api_request` does.
    """
    provider = credentials.get_provider()
    request = provider.api_request(credentials.to_value(), token, method, provider.encoded(params), circuit)
    try:
        return announced_exchange(
            request,
            lambda response: parse(provider.parse_api(response)),
            provider=provider,
            purpose="call",
            method=method,
        )
    except APIError as error:
        error.method = method
        raise
