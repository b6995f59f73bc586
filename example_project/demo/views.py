"""Pages with the buttons, with what a signed call answers, and with one's friends."""

import json
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from django_socialgrants.api import SocialAPI
from django_socialgrants.decorators import grant_required, redirect_to_grant
from django_socialgrants.exceptions import NeedsLogin, SocialGrantsError
from django_socialgrants.models import ProviderCredentials, UserToken

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "ok": ("users.getCurrentUser", {}),
    "mailru": ("users.getInfo", {}),
    "vkid": ("users.get", {"fields": ["sex", "bdate", "photo_200"]}),
}
"""What each network is asked about the user."""


def home(request: HttpRequest) -> HttpResponse:
    """`{% login_buttons %}` would call VK ID's ways in what the other networks' buttons are called."""
    names = [application.name for application in ProviderCredentials.objects.usable()]
    return render(request, "demo/home.html", {"names": names})


@login_required
def me(request: HttpRequest) -> HttpResponse:
    tokens = UserToken.objects.filter(user=request.user).select_related("credentials").order_by("pk")
    accounts = [_account(request, token) for token in tokens]
    return render(request, "demo/me.html", {"accounts": accounts, "sandbox": settings.SANDBOX})


def _account(request: HttpRequest, token: UserToken) -> dict[str, Any]:
    """An account with what its network answers when it is asked who the user is."""
    name = token.credentials.name
    method, params = CALLS[token.credentials.provider]
    account: dict[str, Any] = {"token": token, "friends": f"{name}_friends", "method": method}
    try:
        answer = SocialAPI(request.user, name, uid=token.uid).call(method, **params)
        account["answer"] = json.dumps(answer, ensure_ascii=False, indent=2)
    except SocialGrantsError as error:
        account["error"] = str(error)
    token.refresh_from_db()  # the call may have refreshed it
    return account


@grant_required("ok", scope="VALUABLE_ACCESS")
def ok_friends(request: HttpRequest) -> HttpResponse:
    def ask(api: SocialAPI) -> Any:
        uids = api.friends.get()
        return api.users.getInfo(uids=uids[:100], fields="uid,first_name,last_name") if uids else []

    return _friends(request, "ok", ask)


@grant_required("mailru")
def mailru_friends(request: HttpRequest) -> HttpResponse:
    return _friends(request, "mailru", lambda api: api.friends.get(ext=True))


def _friends(request: HttpRequest, name: str, ask: Callable[[SocialAPI], Any]) -> HttpResponse:
    try:
        return render(request, "demo/friends.html", {"people": ask(request.social[name])})
    except NeedsLogin:
        return redirect_to_grant(request, name)
    except SocialGrantsError as error:
        return render(request, "demo/friends.html", {"error": error}, status=503)
