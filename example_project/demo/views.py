"""Two pages: one with the buttons, one that shows who came in and what a signed call answered."""

import json
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from django_socialgrants.exceptions import SocialGrantsError
from django_socialgrants.flows.call import call
from django_socialgrants.models import UserToken


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "demo/home.html")


@login_required
def me(request: HttpRequest) -> HttpResponse:
    tokens = UserToken.objects.filter(user=request.user).select_related("credentials").order_by("pk")
    return render(request, "demo/me.html", {"accounts": [_account(token) for token in tokens]})


def _account(token: UserToken) -> dict[str, Any]:
    """An account with what its network answers when it is asked, with a signature, who the user is."""
    account: dict[str, Any] = {"token": token}
    try:
        method, params = token.credentials.get_provider().identity_call()
        account["method"] = method
        answer = call(token.credentials, token.to_value(), method, params)
        account["answer"] = json.dumps(answer, ensure_ascii=False, indent=2)
    except SocialGrantsError as error:
        account["error"] = str(error)
    return account
