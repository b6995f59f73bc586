"""What settings and environment say about the way out: whom to trust, and which proxy to go through."""

import os
from functools import lru_cache

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies

from django_socialgrants.conf import conf

_PROXY_VARIABLES = tuple(
    variant
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for variant in (name, name.upper())
)


def trusted_authorities() -> str:
    """The path of a file or directory with the certificates of trusted authorities."""
    environ = os.environ
    return (
        conf.CA_BUNDLE
        or environ.get("REQUESTS_CA_BUNDLE")
        or environ.get("CURL_CA_BUNDLE")
        or DEFAULT_CA_BUNDLE_PATH
    )


def proxies_for(url: str) -> dict[str, str]:
    """Proxies by scheme, as `requests` reads them from the environment, `no_proxy` included."""
    return _proxies(url, *map(os.environ.get, _PROXY_VARIABLES))


@lru_cache(maxsize=64)
def _proxies(url: str, *environment: str | None) -> dict[str, str]:
    """Proxies for `url`; `environment` is what the answer depends on, and so part of the cache's key."""
    return get_environ_proxies(url, no_proxy=None)
