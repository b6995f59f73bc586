"""The pooled connections, and which way they lead: those of `requests`, without the session around them.

They live as long as the process and are shared by its threads; a forked child starts with none. The session
would keep cookies, follow redirects, read .netrc, and take more time than all of it.
"""

import os
from functools import lru_cache
from typing import Any

from requests import PreparedRequest
from requests import Response as RequestsResponse
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from django_socialgrants.conf import conf

from .deadline import POOL_CLASSES

_POOLS = 16
_PROXY_VARIABLES = tuple(
    variant
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for variant in (name, name.upper())
)


def send_prepared(prepared: PreparedRequest) -> RequestsResponse:
    """The answer to `prepared`, which has a `Host` header; `deadline.current` must be set."""
    return _adapter.send(
        prepared,
        stream=True,
        timeout=conf.TIMEOUT,
        verify=_verify(),
        proxies=_proxies(prepared.url or "", *map(os.environ.get, _PROXY_VARIABLES)),
    )


class _Adapter(HTTPAdapter):
    """That of `requests`, with connections that keep our deadline, and without what it does for sessions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pools: dict[tuple[object, ...], Any] = {}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # those have connections of their own, without our deadline
            manager.pool_classes_by_scheme = POOL_CLASSES
        return manager

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool for the endpoint of `request`, looked for among many only once."""
        url = request.url or ""
        key = (url.partition(":")[0], request.headers["Host"], verify, *(proxies or {}).items())
        pool = self._pools.get(key)
        if pool is None:
            if len(self._pools) >= _POOLS:
                self._pools.clear()  # connections of a pool stay open as long as anybody knows it
            pool = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
            super().cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
            self._pools[key] = pool
        return pool

    def cert_verify(self, *args: Any) -> None:
        """Done already, as soon as there was a pool."""

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        return super().request_url(request, proxies) if proxies else request.path_url

    def build_response(self, req: PreparedRequest, resp: Any) -> RequestsResponse:
        """No cookies, no guess at an encoding."""
        response = RequestsResponse()
        response.status_code, response.headers, response.raw = resp.status, resp.headers, resp
        response.url, response.request = req.url or "", req
        return response


def _open_pool() -> None:
    """The pool of `requests`, without the session around it, which would keep cookies and follow redirects."""
    global _adapter
    _adapter = _Adapter(pool_connections=_POOLS, pool_maxsize=64)


_adapter: HTTPAdapter
_open_pool()
os.register_at_fork(after_in_child=_open_pool)  # a socket must not be shared with the parent


def _verify() -> str | bool:
    return conf.CA_BUNDLE or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


@lru_cache(maxsize=64)
def _proxies(url: str, *environment: str | None) -> dict[str, str]:
    """Proxies for `url`; `environment` is what the answer depends on, and so part of the cache's key."""
    return get_environ_proxies(url, no_proxy=None)
