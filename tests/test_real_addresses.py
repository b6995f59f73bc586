"""At the networks' real addresses, which `responses` answers for: the way a site tests its own login."""

from urllib.parse import parse_qsl, urlsplit

import pytest
import responses

from tests.conftest import MAILRU_UID, OK_UID, mailru_profile, mailru_token, ok_profile, ok_token

NETWORKS = {
    "ok": (
        "https://connect.ok.ru/oauth/authorize",
        ("https://api.ok.ru/oauth/token.do", ok_token()),
        ("https://api.ok.ru/fb.do", ok_profile()),
        OK_UID,
    ),
    "mailru": (
        "https://connect.mail.ru/oauth/authorize",
        ("https://connect.mail.ru/oauth/token", mailru_token()),
        ("https://www.appsmail.ru/platform/api", [mailru_profile()]),
        MAILRU_UID,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_login_asks_both_endpoints_of_its_network_once(client, ok_app, mailru_app, name):
    authorize, *endpoints, uid = NETWORKS[name]
    start = client.post(f"/social/{name}/code/")["Location"]
    assert start.split("?")[0] == authorize
    state = dict(parse_qsl(urlsplit(start).query))["state"]
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        for url, body in endpoints:
            mock.post(url, json=body)
        finished = client.get(f"/social/{name}/code/callback/", {"code": "code-1234", "state": state})
        assert [call.request.url for call in mock.calls] == [url for url, _ in endpoints]
    assert finished.status_code == 302
    assert [token.uid for token in ok_app.tokens.all() | mailru_app.tokens.all()] == [uid]


def test_an_address_that_nothing_answers_for_is_a_network_out_of_reach(client, ok_app):
    start = client.post("/social/ok/code/")["Location"]
    state = dict(parse_qsl(urlsplit(start).query))["state"]
    with responses.RequestsMock():
        finished = client.get("/social/ok/code/callback/", {"code": "code-1234", "state": state})
    assert finished.status_code == 503
