"""A signed call of a network's REST API."""

from collections.abc import Callable, Mapping
from typing import Any

from django_socialgrants.exceptions import APIError
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.values import Circuit, Token
from django_socialgrants.transport import exchange


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
    request = provider.api_request(credentials.to_value(), token, method, params, circuit)
    try:
        return exchange(request, lambda response: parse(provider.parse_api(response)))
    except APIError as error:
        error.method = method
        raise
