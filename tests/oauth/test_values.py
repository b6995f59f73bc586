"""Values show no secret, can't be changed, and take nothing for JSON that is none."""

import contextlib
import copy
import dataclasses
import hmac
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_socialgrants.exceptions import MalformedResponse
from django_socialgrants.oauth.grants import (
    AuthorizationCodeGrant,
    ImplicitGrant,
    PasswordGrant,
    RefreshTokenGrant,
)
from django_socialgrants.oauth.values import (
    Circuit,
    Credentials,
    Identity,
    Request,
    Response,
    Secret,
    Token,
    reveal,
)

MARK = "mark-0123456789"

HOLDERS = [
    Credentials("512", MARK, MARK),
    Token(MARK, MARK, 1800, "561", MARK, "VALUABLE_ACCESS", "session"),
    AuthorizationCodeGrant(code=MARK, redirect_uri="https://site.example/", code_verifier=MARK),
    PasswordGrant(username="ivan@mail.example", password=MARK),
    RefreshTokenGrant(refresh_token=MARK),
    ImplicitGrant(access_token=MARK, others={"session_secret_key": MARK}),
    Request("POST", "https://network.example/token", {"code": Secret(MARK), "client_secret": MARK}),
    Response(200, {"set-cookie": MARK}, MARK.encode()),
]
VALUES = [*HOLDERS, Identity("561", name="Иван Петров", profile={"age": 37})]


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        format,
        "{}".format,
        "{:>40}".format,
        "{!r}".format,
        "{!s}".format,
        "%s".__mod__,
        "%r".__mod__,
        lambda secret: f"{secret:.80}",
        lambda secret: f"{[secret]} { ({'password': secret}) }",
    ],
)
def test_a_secret_is_masked_wherever_it_is_shown(show):
    shown = show(Secret(MARK))
    assert MARK not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "leak", [list, len, json.dumps, lambda secret: "" + secret, lambda secret: "".join([secret])]
)
def test_a_secret_does_not_pass_for_a_string(leak):
    with pytest.raises(TypeError):
        leak(Secret(MARK))


def test_a_secret_reveals_its_text_when_asked():
    assert Secret(MARK).reveal() == reveal(Secret(MARK)) == reveal(MARK) == MARK
    assert Secret(Secret(MARK)).reveal() == MARK


def test_an_empty_secret_is_falsy_and_shows_as_nothing():
    assert not Secret()
    assert not Secret("")
    assert Secret("0")
    assert str(Secret("")) == f"{Secret('')}" == ""
    assert repr(Secret("")) != repr(Secret("x"))


@pytest.mark.parametrize("value", [None, b"bytes", 42, ["x"]])
def test_a_secret_is_made_of_text_only(value):
    with pytest.raises(TypeError):
        Secret(value)


@pytest.mark.parametrize("text", [MARK, "", "пароль", "\ud800", "пароль\udfff", "\0", "é", "e\u0301"])
def test_a_secret_equals_the_same_text_and_no_other(text):
    assert Secret(text) == Secret(text)
    assert Secret(text) == text
    assert text == Secret(text)
    for other in (text + "x", "x" + text, text.upper() + "ß"):
        assert Secret(text) != Secret(other)
        assert Secret(text) != other
        assert other != Secret(text)


@pytest.mark.parametrize("stranger", [None, 42, MARK.encode(), [MARK], object()])
def test_a_secret_equals_nothing_but_text(stranger):
    assert Secret(MARK) != stranger
    assert Secret("") != stranger


@pytest.mark.parametrize("text", [MARK, "пароль", "\ud800\udfff"])
def test_secrets_are_compared_in_constant_time(text, monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda one, two: compared.append((one, two)) or real(one, two)
    )
    assert Secret(text) == text
    assert Secret(text) != text[:-1] + "x"
    assert len(compared) == 2
    assert all(isinstance(side, bytes) for sides in compared for side in sides)


def test_a_secret_can_not_be_hashed():
    with pytest.raises(TypeError):
        hash(Secret(MARK))


@pytest.mark.parametrize("holder", [Secret(MARK), *HOLDERS[:-1]], ids=lambda holder: type(holder).__name__)
def test_nothing_with_a_secret_in_it_is_pickled(holder):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(holder, protocol)


def test_an_empty_secret_has_nothing_to_hide_and_may_be_pickled():
    assert pickle.loads(pickle.dumps(Secret(""))) == ""


def test_copying_a_secret_gives_the_same_secret():
    secret = Secret(MARK)
    assert copy.copy(secret) is copy.deepcopy(secret) is secret
    token = Token(access_token=secret)
    assert copy.deepcopy(token).access_token is secret
    assert dataclasses.asdict(token)["access_token"] is secret
    assert dataclasses.replace(token, uid="561").access_token is secret


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_value_shows_a_secret(holder):
    assert MARK not in f"{holder} {holder!r} {[holder]}"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_can_not_be_changed(value):
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, "")
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(value, field.name)


def test_what_must_stay_private_is_wrapped_whether_given_as_text_or_as_secret():
    for text in (MARK, Secret(MARK)):
        credentials, token = Credentials("512", text, text), Token(text, text, session_secret=text)
        secrets = [credentials.client_secret, credentials.client_key]
        secrets += [token.access_token, token.refresh_token, token.session_secret]
        assert all(isinstance(secret, Secret) and secret.reveal() == MARK for secret in secrets)
    assert isinstance(Token().refresh_token, Secret)


def test_a_circuit_is_chosen_by_its_member_or_its_value():
    assert Circuit("server-server") is Circuit.SERVER_SERVER
    assert Circuit("client-server") is Circuit.CLIENT_SERVER
    with pytest.raises(ValueError, match="server"):
        Circuit("server")


def test_an_identity_gives_its_names_by_name():
    identity = Identity("561", "Иван Петров", "Иван", "Петров", "ivan@mail.example")
    assert identity.names() == {"name": "Иван Петров", "first_name": "Иван", "last_name": "Петров"}


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/javascript", "text/html; charset=cp1251", ""]
)
def test_an_answer_is_read_as_json_whatever_its_content_type(content_type):
    response = Response(200, {"content-type": content_type}, '{"имя": "Иван", "n": [1, 2.5, null]}'.encode())
    assert response.json() == {"имя": "Иван", "n": [1, 2.5, None]}


@pytest.mark.parametrize("body", [b'"123"', b"true", b"null", b"0", b"[]", b" {} \r\n", b"1.5e3", b"9" * 64])
def test_any_json_value_is_an_answer(body):
    assert Response(200, {}, body).json() == json.loads(body)


NO_JSON = {
    "empty": b"",
    "blank": b" \r\n",
    "html": b"<!doctype html><title>502 Bad Gateway</title>",
    "form": b"access_token=abc&expires_in=1800",
    "jsonp": b'callback({"uid": "561"})',
    "two documents": b'{"uid": "561"}{"uid": "562"}',
    "cut off": b'{"access_token": "ab',
    "single quotes": b"{'uid': '561'}",
    "comment": b'{"uid": "561"} // me',
    "trailing comma": b'{"uid": "561",}',
    "control character": b'{"uid": "5\n61"}',
    "NaN": b'{"expires_in": NaN}',
    "Infinity": b'{"expires_in": Infinity}',
    "negative Infinity": b"[-Infinity]",
    "infinite float": b'{"expires_in": 1e999}',
    "negative infinite float": b'{"expires_in": -1E400}',
    "doubled name": b'{"uid": "561", "uid": "562"}',
    "doubled name, one escaped": b'{"uid": "561", "\\u0075id": "562"}',
    "doubled name, deep inside": b'[{"user": {"uid": "561", "uid": "561"}}]',
    "huge integer": b'{"uid": ' + b"9" * 65 + b"}",
    "integer of 200,000 digits": b"[" + b"1" * 200_000 + b"]",
    "depth bomb of lists": b"[" * 100_000,
    "depth bomb of lists, closed": b"[" * 100_000 + b"]" * 100_000,
    "depth bomb of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "byte order mark": b'\xef\xbb\xbf{"uid": "561"}',
    "UTF-16": '{"uid": "561"}'.encode("utf-16"),
    "UTF-16 without mark": '{"uid": "561"}'.encode("utf-16-le"),
    "UTF-32": '{"uid": "561"}'.encode("utf-32-be"),
    "windows-1251": '{"name": "Иван"}'.encode("cp1251"),
    "broken UTF-8": b'{"name": "\xd0"}',
    "surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "NUL": b'{"uid": "561"}\x00',
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_strict_json_is_malformed(body):
    with pytest.raises(MalformedResponse):
        Response(200, {"content-type": "application/json"}, body).json()


@given(
    body=st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789eE+-.\\ua', max_size=60).map(str.encode)
)
@settings(deadline=None)
def test_no_bytes_make_reading_fail_in_any_other_way(body):
    with contextlib.suppress(MalformedResponse):
        Response(200, {}, body).json()


def test_the_error_about_a_malformed_answer_quotes_nothing_of_it():
    with pytest.raises(MalformedResponse) as caught:
        Response(502, {}, b'{"access_token": "' + MARK.encode()).json()
    assert MARK not in f"{caught.value!r} {vars(caught.value)}"
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert "502" in str(caught.value)


def test_a_token_is_carried_in_the_header_as_rfc_6750_has_it():
    header = Token("t1").bearer()
    assert header == {"Authorization": "Bearer t1"}
    assert isinstance(header["Authorization"], Secret)
