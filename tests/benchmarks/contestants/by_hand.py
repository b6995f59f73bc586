"""The least that logs somebody in: two pooled requests, and the same user, session and token written."""

import os
import secrets
from hashlib import md5

import requests

from .site import APPLICATION, NETWORK, logins, set_up
from .work import serve

pooled = requests.Session()
pooled.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True


def start(request):
    from django.http import HttpResponseRedirect

    state = request.session["state"] = secrets.token_urlsafe(32)
    return HttpResponseRedirect(f"{NETWORK}/oauth/authorize?client_id=700000&state={state}")


def callback(request):
    from django.contrib.auth import get_user_model, login
    from django.http import HttpResponseForbidden, HttpResponseRedirect

    from .by_hand_models import token_model

    if request.session.pop("state", None) != request.GET["state"]:
        return HttpResponseForbidden()
    form = {
        "grant_type": "authorization_code",
        "code": request.GET["code"],
        "redirect_uri": "/",
        **APPLICATION,
    }
    token = pooled.post(f"{NETWORK}/oauth/token", form).json()
    params = {
        "method": "users.getInfo",
        "app_id": "700000",
        "session_key": token["access_token"],
        "secure": "1",
    }
    joined = "".join(f"{name}={params[name]}" for name in sorted(params))
    params["sig"] = md5((joined + APPLICATION["client_secret"]).encode()).hexdigest()
    profile = pooled.post(f"{NETWORK}/platform/api", params).json()[0]
    rows = token_model().objects
    row = rows.select_related("user").filter(uid=profile["uid"]).first()
    if row is None:
        user = get_user_model()(username=f"mailru_{secrets.token_hex(6)}", first_name=profile["first_name"])
        user.set_unusable_password()
        user.save()
        row = rows.create(user=user, uid=profile["uid"], access_token=token["access_token"], profile=profile)
    else:
        row.access_token, row.profile = token["access_token"], profile
        row.save(update_fields=["access_token", "profile"])
    login(request, row.user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponseRedirect("/done/")


def main() -> None:
    set_up([], "tests.benchmarks.contestants.by_hand_urls")
    from django.db import connection

    from .by_hand_models import token_model

    with connection.schema_editor() as editor:
        editor.create_model(token_model())
    serve({"login": logins("/start/", "/callback/", token_model().objects.count)})


if __name__ == "__main__":
    main()
