"""What a client of the networks does, by hand. Signatures are written out once more, as a client would."""

import json
from hashlib import md5
from urllib.parse import parse_qsl, urlsplit

from django.urls import reverse

from django_socialgrants.sandbox.models import AccessToken, Code, RefreshToken
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.tokens import grant_implicitly

FIRST = {network: next(iter(people)) for network, people in PEOPLE.items()}
BACK = "https://site.example/back/"


def dialog_url(app, **changes):
    params = {"client_id": app.client_id, "response_type": "code", "redirect_uri": BACK, "state": "s1"}
    params |= {name: value for name, value in changes.items() if value is not None}
    absent = [name for name, value in changes.items() if value is None]
    kept = {name: value for name, value in params.items() if name not in absent}
    return reverse(f"socialgrants_sandbox:{app.network}_authorize", query=kept)


def decide(client, app, decision="allow", person=None, **changes):
    """The address that the browser is sent to."""
    form = {"decision": decision, "person": person or FIRST[app.network]}
    response = client.post(dialog_url(app, **changes), form)
    assert response.status_code == 302, response.content.decode()
    return response["Location"]


def query_of(address):
    return dict(parse_qsl(urlsplit(address).query, keep_blank_values=True))


def fragment_of(address):
    return dict(parse_qsl(urlsplit(address).fragment, keep_blank_values=True))


def code_form(client, app, **changes):
    """A token request for a code that was just granted."""
    code = query_of(decide(client, app, **changes))["code"]
    return {
        "grant_type": "authorization_code",
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "code": code,
        "redirect_uri": changes.get("redirect_uri", BACK),
    }


def refresh_form(app, refresh_token):
    return {
        "grant_type": "refresh_token",
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "refresh_token": refresh_token,
    }


def password_form(app, username, password, **more):
    """A token request with a password, as Mail.Ru takes it."""
    return {
        "grant_type": "password",
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "username": username,
        "password": password,
    } | more


def ask_token(client, app, form):
    return client.post(reverse(f"socialgrants_sandbox:{app.network}_token"), form)


def answer_of(response):
    """The JSON in a body, whatever its content type says: Mail.Ru calls it JavaScript."""
    return json.loads(response.content)


def access_token(app, scope="", person=None):
    """A session without a secret of its own, as a code brings it."""
    lifetime = app.rules.access_lifetime_of(frozenset(scope.split()))
    return AccessToken.issue(app, person or FIRST[app.network], scope, lifetime)


def implicit_session(app, scope=""):
    return grant_implicitly(app, FIRST[app.network], scope).access


def counts():
    return Code.objects.count(), AccessToken.objects.count(), RefreshToken.objects.count()


def md5_hex(text):
    return md5(text.encode()).hexdigest()


def joined(params, without=()):
    return "".join(f"{name}={params[name]}" for name in sorted(params) if name not in without)


def ok_signed(params, secret):
    return params | {"sig": md5_hex(joined(params, ("access_token", "session_key")) + secret)}


def ok_call(client, app, method, session=None, *, secret=None, **params):
    """A call in the server circuit, or with the secret given."""
    params = {"method": method, "application_key": app.client_key, "format": "json"} | params
    if session:
        params["access_token"] = session.value
        secret = secret or md5_hex(session.value + app.client_secret)
    signed = ok_signed(params, secret or app.client_secret)
    return client.post(reverse("socialgrants_sandbox:ok_rest"), signed)


def ok_log_in(client, app, user_name, password, **more):
    """auth.login, unsigned."""
    params = {"method": "auth.login", "application_key": app.client_key, "format": "json"}
    params |= {"user_name": user_name, "password": password} | more
    return client.post(reverse("socialgrants_sandbox:ok_rest"), params)


def mailru_signed(app, params, uid=None):
    """In the server circuit; with a uid, in the client circuit."""
    if uid is not None:
        return params | {"sig": md5_hex(uid + joined(params) + app.client_key)}
    params = params | {"secure": "1"}
    return params | {"sig": md5_hex(joined(params) + app.client_secret)}


def mailru_call(client, app, method, session=None, *, uid=None, **params):
    params = {"method": method, "app_id": app.client_id} | params
    if session:
        params["session_key"] = session.value
    return client.post(reverse("socialgrants_sandbox:mailru_rest"), mailru_signed(app, params, uid))
