"""`request.social`: signed calls bound to `request.user`."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest

from .api import SocialAPI


class Social:
    """`request.social["ok"]` is the `SocialAPI` of `request.user`, the same one throughout a request."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._apis: dict[str, SocialAPI] = {}

    def __getitem__(self, name: str) -> SocialAPI:
        user = self._request.user
        api = self._apis.get(name)
        if api is None or api.user is not user:  # somebody logged in or out during the request
            api = self._apis[name] = SocialAPI(user, name)
        return api


class SocialGrantsMiddleware:
    """Stands after `AuthenticationMiddleware`; costs nothing before the first call."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        request.social = Social(request)  # type: ignore[attr-defined]
        return self.get_response(request)
