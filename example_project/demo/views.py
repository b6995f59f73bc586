"""Pages with the buttons, with what a signed call answers, and with one's friends."""

import json
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from django_socialgrants.api import SocialAPI
from django_socialgrants.decorators import grant_required, redirect_to_grant
from django_socialgrants.exceptions import NeedsLogin, SocialGrantsError
from django_socialgrants.models import ProviderCredentials, UserToken


def home(request: HttpRequest) -> HttpResponse:
    """All buttons; in one list, as `{% login_buttons %}` has them, some of VK ID would be called as others are."""
    usable = ProviderCredentials.objects.usable()
    own = [application for application in usable if application.provider != "vkid"]
    shared = [application for application in usable if application.provider == "vkid"]
    groups = [("", own), (_("The same through VK ID, with one application for all"), shared)]
    return render(request, "demo/home.html", {"groups": [group for group in groups if group[1]]})


@login_required
def me(request: HttpRequest) -> HttpResponse:
    tokens = UserToken.objects.filter(user=request.user).select_related("credentials").order_by("pk")
    accounts = [_account(request, token) for token in tokens]
    return render(request, "demo/me.html", {"accounts": accounts, "sandbox": settings.SANDBOX})


_CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "ok": ("users.getCurrentUser", {}),
    "mailru": ("users.getInfo", {}),
    "vkid": ("users.get", {"fields": "photo_200"}),
}
"""What each network is asked: who the user is."""


def _account(request: HttpRequest, token: UserToken) -> dict[str, Any]:
    """An account with what its network answers when it is asked, with a signature, who the user is."""
    name = token.credentials.name
    account: dict[str, Any] = {"token": token, "friends": f"{name}_friends"}
    try:
        method, params = _CALLS[token.credentials.provider]
        account["method"] = method
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
