"""VK ID as a client meets it on the wire: every request is written out by hand."""

import pytest
from django.urls import reverse

from django_socialgrants.sandbox.models import AccessToken, Application, RefreshToken
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.rehearsal import begin

from .driver import BACK, FIRST, answer_of, decide, dialog_url, query_of

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
STATE = "s" * 32
ASKED = {"state": STATE, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}


def ask(client, name, form, **headers):
    return client.post(reverse(f"socialgrants_sandbox:{name}"), form, headers=headers)


@pytest.fixture
def callback(client, vkid_app):
    """The parameters of a callback."""

    def callback(**changes):
        return query_of(decide(client, vkid_app, **{**ASKED, **changes}))

    return callback


@pytest.fixture
def exchange(client, vkid_app, callback):
    """The answer to a code that was just granted; `asked` goes into the dialog, the rest into the request."""

    def exchange(asked=None, **changes):
        answer = callback(**(asked or {}))
        form = {
            "grant_type": "authorization_code",
            "client_id": vkid_app.client_id,
            "code": answer["code"],
            "device_id": answer["device_id"],
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
            "state": STATE,
        } | changes
        response = ask(client, "vkid_token", {k: v for k, v in form.items() if v is not None})
        response.device_id = answer["device_id"]
        return response

    return exchange


@pytest.fixture
def refresh(client, vkid_app):
    def refresh(token, device_id, **changes):
        form = {
            "grant_type": "refresh_token",
            "client_id": vkid_app.client_id,
            "refresh_token": token,
            "device_id": device_id,
            "state": STATE,
        } | changes
        return ask(client, "vkid_token", {k: v for k, v in form.items() if v is not None})

    return refresh


def test_the_callback_brings_a_device_beside_the_code(callback):
    answer = callback()
    assert answer.pop("code").startswith("vk2.a.")
    assert answer.pop("device_id")
    assert answer == {"state": STATE, "type": "code_v2", "expires_in": "600"}


@pytest.mark.parametrize(("provider", "shown"), [("ok_ru", "OK"), ("mail_ru", "Mail.Ru"), (None, "VK ID")])
def test_the_dialog_says_which_account_one_comes_in_with(client, vkid_app, provider, shown):
    page = client.get(dialog_url(vkid_app, **ASKED, provider=provider))
    assert f"You come in with {shown}." in page.content.decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"response_type": "token"},
        {"state": "s" * 31},
        {"state": "s" * 31 + "."},
        {"state": None},
        {"code_challenge": None},
        {"code_challenge": CHALLENGE[1:]},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_verifier": VERIFIER},
        {"provider": "odnoklassniki"},
        {"scope": "email;phone"},
    ],
    ids=str,
)
def test_what_the_network_would_not_understand_is_told_on_a_page(client, vkid_app, changes):
    assert client.get(dialog_url(vkid_app, **{**ASKED, **changes})).status_code == 400


def test_nobody_is_logged_in_without_being_asked(client, vkid_app):
    response = client.get(dialog_url(vkid_app, **ASKED, prompt="none"))
    assert query_of(response["Location"]) == {"error": "login_required", "state": STATE}


def test_a_code_brings_a_token_whose_user_is_a_number(exchange):
    answer = answer_of(exchange())
    assert answer.pop("access_token").startswith("vk2.a.")
    assert answer.pop("refresh_token").startswith("vk2.a.")
    assert answer == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "user_id": int(FIRST["vkid"]),
        "scope": "vkid.personal_info",
        "state": STATE,
    }


def test_whichever_way_somebody_comes_in_it_is_the_same_user(exchange):
    answers = [answer_of(exchange({"provider": way})) for way in ("vkid", "ok_ru", "mail_ru")]
    assert {answer["user_id"] for answer in answers} == {int(FIRST["vkid"])}


@pytest.mark.parametrize(
    ("changes", "status", "error", "description"),
    [
        ({"code": "vk2.a.wrong"}, 200, "invalid_grant", "code is invalid or expired"),
        ({"code_verifier": VERIFIER[::-1]}, 400, "invalid_grant", "code_verifier is invalid"),
        ({"code_verifier": None}, 400, "invalid_request", "a required parameter is missing or doubled"),
        ({"device_id": None}, 400, "invalid_request", "a required parameter is missing or doubled"),
        ({"device_id": "another"}, 400, "invalid_request", "device_id is invalid"),
        ({"redirect_uri": f"{BACK}?x=1"}, 400, "invalid_request", "redirect_uri is invalid"),
        ({"service_token": "wrong"}, 401, "invalid_client", "client_id or service_token is invalid"),
        ({"client_id": "1"}, 401, "invalid_client", "client_id or service_token is invalid"),
        ({"grant_type": "password"}, 400, "invalid_request", "grant_type is invalid"),
    ],
    ids=str,
)
def test_a_flawed_exchange_is_refused_in_the_words_of_the_network(
    exchange, changes, status, error, description
):
    response = exchange(**changes)
    assert response.status_code == status
    assert answer_of(response) == {"error": error, "error_description": description, "state": STATE}
    assert not AccessToken.objects.exists()


def test_the_service_token_is_welcome_and_a_client_secret_is_not_found(exchange, vkid_app):
    assert "access_token" in answer_of(exchange(service_token=vkid_app.client_secret))
    assert exchange(client_secret=vkid_app.client_secret).status_code == 404


def test_a_refresh_rotates_and_a_refresh_token_used_twice_ends_the_family(exchange, refresh):
    granted = exchange()
    first = answer_of(granted)["refresh_token"]
    second = answer_of(refresh(first, granted.device_id))
    assert second["refresh_token"] != first
    assert second["state"] == STATE
    again = answer_of(refresh(first, granted.device_id))
    assert (again["error"], again["error_description"].partition(" because")[0]) == (
        "invalid_grant",
        "session is compromised",
    )
    for token in (first, second["refresh_token"]):
        dead = answer_of(refresh(token, granted.device_id))
        assert (dead["error"], dead["error_description"]) == (
            "invalid_request",
            "refresh_token is missing or invalid",
        )
    assert not any(token.alive for token in RefreshToken.objects.all())


@pytest.mark.parametrize("device_id", ["another", None])
def test_a_refresh_from_another_device_is_refused_and_uses_nothing_up(exchange, refresh, device_id):
    granted = exchange()
    token = answer_of(granted)["refresh_token"]
    assert answer_of(refresh(token, device_id))["error"] == "invalid_request"
    assert "access_token" in answer_of(refresh(token, granted.device_id))


def test_a_service_token_is_not_found_at_a_refresh(exchange, refresh, vkid_app):
    granted = exchange()
    token = answer_of(granted)["refresh_token"]
    assert refresh(token, granted.device_id, service_token=vkid_app.client_secret).status_code == 404


def test_the_profile_holds_what_was_permitted(client, exchange, vkid_app):
    def profile(scope):
        token = answer_of(exchange({"scope": scope}))["access_token"]
        form = {"client_id": vkid_app.client_id, "access_token": token}
        return answer_of(ask(client, "vkid_user_info", form))["user"]

    whole = PEOPLE["vkid"][FIRST["vkid"]].profile
    assert profile("vkid.personal_info email phone") == whole
    assert profile("vkid.personal_info") == {**whole, "email": "", "phone": ""}


def test_a_dead_or_foreign_token_has_no_profile(client, exchange, vkid_app):
    token = answer_of(exchange())["access_token"]
    other = Application.objects.create(network="vkid", client_id="51000010", client_key="other")
    for client_id, value in [(vkid_app.client_id, "x"), (other.client_id, token), (vkid_app.client_id, "")]:
        response = ask(client, "vkid_user_info", {"client_id": client_id, "access_token": value})
        assert answer_of(response)["error"] == "invalid_token"


@pytest.mark.parametrize(("endpoint", "others_alive"), [("vkid_revoke", False), ("vkid_logout", True)])
def test_revoking_ends_every_session_and_logging_out_this_one(
    client, exchange, vkid_app, endpoint, others_alive
):
    other, this = answer_of(exchange()), answer_of(exchange())
    form = {"client_id": vkid_app.client_id, "access_token": this["access_token"]}
    assert answer_of(ask(client, endpoint, form)) == {"response": 1}
    alive = {
        token.value: token.alive for model in (AccessToken, RefreshToken) for token in model.objects.all()
    }
    assert not alive[this["access_token"]] and not alive[this["refresh_token"]]
    assert alive[other["access_token"]] is alive[other["refresh_token"]] is others_alive
    assert answer_of(ask(client, endpoint, form))["error"] == "invalid_token"


# --- api.vk.ru ---------------------------------------------------------------------------------------------------


@pytest.fixture
def call(client, exchange):
    token = answer_of(exchange())["access_token"]

    def call(name, **params):
        url = reverse("socialgrants_sandbox:vkid_rest", args=[name])
        return answer_of(client.post(url, {"access_token": token, "v": "5.199"} | params))

    return call


def test_calls_are_not_signed(call):
    (me,) = call("users.get", fields="photo_200")["response"]
    assert me == {
        "id": int(FIRST["vkid"]),
        "first_name": "Ярослава",
        "last_name": "Выдумкина",
        "photo_200": PEOPLE["vkid"][FIRST["vkid"]].profile["avatar"],
    }


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("users.get", {"v": ""}, 8),
        ("users.get", {"access_token": "x"}, 5),
        ("users.delete", {}, 3),
        ("friends.get", {}, 7),
        ("users.get", {"access_token": ["x", "y"]}, 100),
    ],
    ids=str,
)
def test_a_call_that_fails_says_so_with_http_200_and_a_number(call, name, params, code):
    assert call(name, **params)["error"]["error_code"] == code


def test_friends_are_for_whoever_was_granted_them(client, exchange):
    token = answer_of(exchange({"scope": "friends"}))["access_token"]
    url = reverse("socialgrants_sandbox:vkid_rest", args=["friends.get"])
    answer = answer_of(client.post(url, {"v": "5.199"}, headers={"Authorization": f"Bearer {token}"}))
    assert answer["response"]["items"] == [int(uid) for uid in PEOPLE["vkid"][FIRST["vkid"]].friends]


# --- rehearsals --------------------------------------------------------------------------------------------------


def test_a_refresh_can_be_told_to_slow_down(exchange, refresh):
    granted = exchange()
    begin("slow-down", count=1)
    assert answer_of(refresh(answer_of(granted)["refresh_token"], granted.device_id))["error"] == "slow_down"


def test_a_call_can_be_told_that_it_comes_from_elsewhere(call):
    begin("other-address", count=1)
    error = call("users.get")["error"]
    assert (error["error_code"], "another ip address" in error["error_msg"]) == (5, True)


def test_an_exchange_can_be_answered_with_404_and_a_page(exchange):
    begin("wrong-parameter", count=1)
    response = exchange()
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
