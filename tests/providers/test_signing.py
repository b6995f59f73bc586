"""Signatures of REST calls: the published examples, our own, and what must hold for any call."""

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum
from hashlib import md5
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_socialgrants.oauth.values import Circuit, Credentials, Secret, Token, reveal
from django_socialgrants.providers import signing
from django_socialgrants.providers.mailru import MailRu
from django_socialgrants.providers.ok import OK
from django_socialgrants.providers.signing import md5_hex, signature
from django_socialgrants.transport.exchange import send
from tests.fakes import FakeMailRu, FakeOK

SERVER, CLIENT = Circuit.SERVER_SERVER, Circuit.CLIENT_SERVER
GREETING = "Привет, мир! Ёж & 1+1=2"

OK_APP = Credentials("512000000000", "00112233445566778899AABB", "CGEXAMPLEKEYBABABA")
OK_TOKEN = Token("tkn.example-0001", session_secret="0f343b0931126a20f133d67c2b018a3b")
OK_DERIVED = "7049bccc527f4e161b3c774c1279efce"

MAILRU_UID = "1324730981306483817"
MAILRU_APP = Credentials("423004", "3dad9cbf9baaa0360c0f2ba372d25716", "7815696ecbf1c96e6894b779456d330e")
MAILRU_TOKEN = Token("be6ef89965d58e56dec21acb9b62bdaa", uid=MAILRU_UID)
MAILRU_SESSION = {"app_id": "423004", "session_key": "be6ef89965d58e56dec21acb9b62bdaa"}


def sig(request):
    return request.params["sig"]


def call_ok(circuit, method="x.y", params=None, credentials=OK_APP, token=OK_TOKEN):
    return OK().api_request(credentials, token, method, params or {}, circuit)


def call_mailru(circuit, method="x.y", params=None, credentials=MAILRU_APP, token=MAILRU_TOKEN):
    return MailRu().api_request(credentials, token, method, params or {}, circuit)


def clear(request):
    return {name: reveal(value) for name, value in request.params.items()}


def expected_from_ok(params, circuit):
    """What OK computes from what it received."""
    unsigned = {"sig", "resig", "access_token", "session_key"}
    joined = "".join(f"{name}={value}" for name, value in sorted(params.items()) if name not in unsigned)
    derived = md5((params["access_token"] + OK_APP.client_secret.reveal()).encode()).hexdigest()
    secret = derived if circuit is SERVER else OK_TOKEN.session_secret.reveal()
    return md5((joined + secret).encode()).hexdigest()


def expected_from_mailru(params, circuit):
    """What Mail.Ru computes from what it received."""
    joined = "".join(f"{name}={value}" for name, value in sorted(params.items()) if name != "sig")
    if circuit is SERVER:
        return md5((joined + MAILRU_APP.client_secret.reveal()).encode()).hexdigest()
    return md5((MAILRU_UID + joined + MAILRU_APP.client_key.reveal()).encode()).hexdigest()


both_networks = pytest.mark.parametrize("call", [call_ok, call_mailru], ids=["ok", "mailru"])
both_circuits = pytest.mark.parametrize("circuit", [SERVER, CLIENT])
every_signature = pytest.mark.parametrize(
    ("call", "expected", "circuit"),
    [(call_ok, expected_from_ok, circuit) for circuit in (SERVER, CLIENT)]
    + [(call_mailru, expected_from_mailru, circuit) for circuit in (SERVER, CLIENT)],
    ids=["ok-server", "ok-client", "mailru-server", "mailru-client"],
)

# --- OK: published examples ------------------------------------------------------------------------------


def test_the_published_example_of_oks_server_circuit():
    app = Credentials("1", "ABC123DEF456GHI789JKL123", "ABCDEFGHIGKLMNOPK")
    token = Token("-s-84W-s3egarWUsbkq-IWTucuedzTKT8VUXIA.s4Xx8IW7")
    request = call_ok(SERVER, "events.get", credentials=app, token=token)
    assert sig(request) == "232c8eb921951c4dba9b72606f9ddb4c"


def test_the_published_example_of_oks_client_circuit():
    app = Credentials("1", "", "ABCDEFGHIGKLMNOPK")
    token = Token("any-token", session_secret="ae5362b5b588cc7294c2414d71b74d5d")
    request = call_ok(CLIENT, "events.get", credentials=app, token=token)
    assert sig(request) == "03a41413523ea8092507949d6e711963"


def test_a_recorded_call_of_oks_server_circuit():
    app = Credentials("1", "my-client-secret", "publicsecret")
    request = call_ok(SERVER, "users.getCurrentUser", credentials=app, token=Token("secret-access-token"))
    assert sig(request) == "3cf98d2df29c82be6964f3dfe56c188b"


@pytest.mark.parametrize(
    ("params", "token", "client_secret", "expected"),
    [
        (
            {"bbb": "opka", "aaa": "7"},
            "accesssss_tokkken",
            "ClienTSECRET",
            "01a36a2aa93eb052cbabc18febbaa992",
        ),
        (
            {"application_key": "application_key"},
            "token",
            "client_secret",
            "4784959f6620c78221bff139d6cf9309",
        ),
    ],
)
def test_published_examples_of_oks_signature_without_format_and_method(
    params, token, client_secret, expected
):
    assert signature(params, md5_hex(token + client_secret)) == expected


# --- OK: our own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "server", "client"),
    [
        (
            "users.getCurrentUser",
            {"fields": ["uid", "first_name", "last_name", "name", "email"]},
            "a6b375e8c81819b3ca962d378d71fa22",
            "36762325e3b40fdf61d5438b7de39ead",
        ),
        ("x.y", {"p": 1, "p1": 2}, "03e9e97858b2cf613133c80564849767", "964de754da2ca27e8424e45de2269489"),
        (
            "users.setStatus",
            {"status": GREETING},
            "df436555acf918ae8d5273d574acb4f1",
            "2881eb339fbaa3347e52f2dbf4d25e89",
        ),
        (
            "friends.get",
            {"offset": 0, "with_details": True},
            "26852cfd012fc42a963b213d949a4f94",
            "ee45a17c1473cb23ff23f972984ed164",
        ),
        (
            "friends.get",
            {"offset": 0, "with_details": True, "sort": ""},
            "feb3518901a33b79880e19fe09635d02",
            "0caa53fecffbd0d61d5029e16b6c3875",
        ),
    ],
)
def test_oks_calls_have_the_signatures_that_were_computed_by_hand(method, params, server, client):
    assert sig(call_ok(SERVER, method, params)) == server
    assert sig(call_ok(CLIENT, method, params)) == client


def test_oks_secret_of_the_server_circuit_is_derived_from_token_and_application():
    assert md5_hex(OK_TOKEN.access_token.reveal() + OK_APP.client_secret.reveal()) == OK_DERIVED


def test_oks_signature_of_a_call_whose_method_is_in_its_path():
    params = {"application_key": "CGEXAMPLEKEYBABABA", "format": "json"}
    assert signature(params, OK_DERIVED) == "ebc9aa1c70e65ea06f72202ac193539c"
    assert signature(params, OK_TOKEN.session_secret) == "045b0f3ffcf375f10c233e4869b59a6d"


def test_oks_call_without_a_session_is_signed_with_the_applications_secret_itself():
    params = {"uids": [1, 2, 3], "fields": ("uid", "name")}
    request = call_ok(SERVER, "users.getInfo", params, token=Token())
    assert sig(request) == "65c2ae9774d4914e2a60f517a1491aef"
    assert "access_token" not in request.params


def test_oks_signature_is_over_raw_values_not_percent_encoded_ones():
    params = {"application_key": "CGEXAMPLEKEYBABABA", "format": "json", "method": "users.setStatus"}
    encoded = signature(params | {"status": quote(GREETING, safe="")}, OK_DERIVED)
    assert encoded == "99369bb897b7fb6f5c22896dc10002d2"
    assert sig(call_ok(SERVER, "users.setStatus", {"status": GREETING})) != encoded


def test_oks_parameters_are_sorted_by_name_not_as_name_and_value():
    params = {"application_key": "CGEXAMPLEKEYBABABA", "format": "json", "method": "x.y", "p": "1", "p1": "2"}
    whole = md5_hex("".join(sorted(f"{name}={value}" for name, value in params.items())) + OK_DERIVED)
    assert whole == "fbca57d9681d827e6c48b2eb7c81a0b0"
    assert sig(call_ok(SERVER, "x.y", {"p": 1, "p1": 2})) != whole


# --- Mail.Ru ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "client", "server"),
    [
        ("friends.get", {}, "5073f15c6d5b6ab2fde23ac43332b002", "4a05af66f80da18b308fa7e536912bae"),
        ("users.getInfo", {}, "945f133f1c74e33aee7cfa63139e907a", "02737a6844aa0941cd13680d69418905"),
        (
            "stream.post",
            {"user_text": GREETING},
            "563356ca7eede40f62057e79b468ed64",
            "9837cc307b46841e16f801028b9a5f23",
        ),
        (
            "friends.get",
            {"ext": True, "offset": 0},
            "e0149e450a96d9d1b94b68f3cd01bfbf",
            "9d107568e75275ab249c4377d73f1a68",
        ),
        ("x.y", {"p": 1, "p1": 2}, "2bb4148dcaaa150901d7accf82008ba5", "c5ada75829d41f54c7079d2399f707e0"),
    ],
)
def test_mailrus_calls_have_the_published_signatures_and_those_computed_by_hand(
    method, params, client, server
):
    assert sig(call_mailru(CLIENT, method, params)) == client
    assert sig(call_mailru(SERVER, method, params)) == server


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"method": "friends.get"}, "ebe80f4b77ae55b909fff4d9c6806da7"),
        ({"method": "users.getInfo"}, "48fd57cc65e7ca94ab11559faf08fee9"),
        (
            {"method": "users.getInfo", "format": "json", "uids": f"{MAILRU_UID},12900285598278158001"},
            "34f1e2cff1d3b5328a8862c2d985fba9",
        ),
        ({"method": "stream.post", "user_text": GREETING}, "1c72cb6fb6fd0ba5dcabb4f7354457d4"),
        ({"method": "friends.get", "ext": "1", "offset": "0"}, "7f7753bf200ec36ca60ba8a986fc3516"),
        ({"method": "x.y", "p": "1", "p1": "2"}, "e7627bcd2d1c94cce89664677e4aedff"),
    ],
)
def test_mailrus_client_circuit_signs_a_secure_that_is_0_as_well(params, expected):
    signed = MAILRU_SESSION | params | {"secure": "0"}
    assert signature(signed, MAILRU_APP.client_key, prefix=MAILRU_UID) == expected


def test_mailrus_signature_covers_a_format_where_there_is_one():
    params = MAILRU_SESSION | {"method": "users.getInfo", "format": "json"}
    params["uids"] = f"{MAILRU_UID},12900285598278158001"
    client = signature(params, MAILRU_APP.client_key, prefix=MAILRU_UID)
    assert client == "4eb386a24bebef1bdd2a87d2cd3b2557"
    assert signature(params | {"secure": "1"}, MAILRU_APP.client_secret) == "4c793fca299520048858caab88faa561"


def test_mailrus_signature_of_a_call_without_a_session_that_names_its_user():
    params = {
        "app_id": "423004",
        "format": "json",
        "method": "users.getInfo",
        "secure": "1",
        "uid": MAILRU_UID,
    }
    assert signature(params, MAILRU_APP.client_secret) == "40fbf6babb6128adcc286e76765f428f"


def test_mailrus_signature_is_over_raw_values_not_percent_encoded_ones():
    params = MAILRU_SESSION | {"method": "stream.post", "secure": "1", "user_text": quote(GREETING, safe="")}
    encoded = signature(params, MAILRU_APP.client_secret)
    assert encoded == "b5c1ab95744b1e1094c912ec2c13a2b3"
    assert sig(call_mailru(SERVER, "stream.post", {"user_text": GREETING})) != encoded


# --- what goes over the wire -----------------------------------------------------------------------------


class Number(IntEnum):
    SEVEN = 7


WIRE = [
    (0, "0"),
    (-1, "-1"),
    (10**30, "1" + "0" * 30),
    (Number.SEVEN, "7"),
    (1.5, "1.5"),
    (0.0, "0.0"),
    (Decimal("1.50"), "1.50"),
    ("", ""),
    (" a ", " a "),
    (GREETING, GREETING),
    ("1%20+1\r\n\0", "1%20+1\r\n\0"),
    (Circuit.SERVER_SERVER, "server-server"),
    ([], ""),
    (["uid", "name"], "uid,name"),
    ((1, 2.5, "три"), "1,2.5,три"),
    ({"a": [1, None, True], "b": "Ё"}, '{"a":[1,null,true],"b":"Ё"}'),
]


@pytest.mark.parametrize(("value", "text"), WIRE, ids=lambda value: ascii(value)[:20])
def test_values_go_over_the_wire_as_the_networks_read_them(value, text):
    for call in (call_ok, call_mailru):
        assert call(SERVER, params={"v": value}).params["v"] == text


@both_circuits
@pytest.mark.parametrize(("call", "words"), [(call_ok, ("false", "true")), (call_mailru, ("0", "1"))])
def test_a_boolean_is_written_as_the_network_writes_it(call, words, circuit):
    params = call(circuit, params={"no": False, "yes": True, "both": [False, True]}).params
    assert (params["no"], params["yes"], params["both"]) == (*words, ",".join(words))


@every_signature
def test_what_is_none_is_neither_signed_nor_sent(call, expected, circuit):
    request = call(circuit, params={"absent": None, "present": "x"})
    assert "absent" not in request.params
    assert request == call(circuit, params={"present": "x"})


@every_signature
@pytest.mark.parametrize("value", [0, 0.0, False, "", []])
def test_what_is_falsy_is_signed_and_sent(call, expected, circuit, value):
    request = call(circuit, params={"v": value})
    assert "v" in request.params
    assert sig(request) != sig(call(circuit))
    assert sig(request) == expected(clear(request), circuit)


@every_signature
def test_a_secret_parameter_is_signed_as_what_it_reveals_and_stays_wrapped(call, expected, circuit):
    request = call(circuit, params={"password": Secret(GREETING)})
    assert isinstance(request.params["password"], Secret)
    assert (
        sig(request) == sig(call(circuit, params={"password": GREETING})) == expected(clear(request), circuit)
    )


@every_signature
def test_the_callers_parameters_are_left_alone(call, expected, circuit):
    params = {"uids": [1, 2], "absent": None, "flag": True}
    call(circuit, params=params)
    assert params == {"uids": [1, 2], "absent": None, "flag": True}


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name.lower() not in signing.RESERVED
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
calls = st.dictionaries(names, st.none() | scalars | st.lists(scalars, max_size=4), max_size=6)


@every_signature
@given(params=calls)
@hypothesis_settings(deadline=None, max_examples=60)
def test_the_network_comes_to_the_same_signature_from_what_is_sent(call, expected, circuit, params):
    request = call(circuit, params=params)
    assert sig(request) == expected(clear(request), circuit)
    assert request.params.keys() >= {name for name, value in params.items() if value is not None}


@every_signature
@given(params=calls, random=st.randoms(use_true_random=False))
@hypothesis_settings(deadline=None, max_examples=60)
def test_the_order_of_parameters_does_not_matter(call, expected, circuit, params, random):
    shuffled = list(params.items())
    random.shuffle(shuffled)
    assert sig(call(circuit, params=dict(shuffled))) == sig(call(circuit, params=params))


@pytest.mark.parametrize(
    ("provider", "credentials", "token", "expected"),
    [
        (FakeOK, OK_APP, OK_TOKEN, expected_from_ok),
        (FakeMailRu, MAILRU_APP, MAILRU_TOKEN, expected_from_mailru),
    ],
)
@both_circuits
def test_what_a_server_receives_is_byte_for_byte_what_was_signed(
    network, provider, credentials, token, expected, circuit
):
    params = {
        "text": GREETING,
        "blanks": " \t\r\n\0",
        "plus": "a+b%20c",
        "name=a&b": "1=2",
        "имя": "ж",
        "none": None,
    }
    send(provider().api_request(credentials, token, "stream.post", params, circuit))
    received = network.calls[-1].params
    assert received["sig"] == expected(received, circuit)
    assert {name: received[name] for name in params if name in received} == {
        name: value for name, value in params.items() if value is not None
    }


# --- what is refused -------------------------------------------------------------------------------------

RESERVED = ["sig", "method", "application_key", "app_id", "access_token", "session_key", "format", "secure"]


@both_networks
@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_name_is_refused_in_any_case_and_with_any_value(call, name):
    for written in (name.lower(), name.upper(), name.title()):
        for value, circuit in product(("x", "", None, 0), Circuit):
            with pytest.raises(ValueError, match="reserved"):
                call(circuit, params={written: value})


@both_networks
@pytest.mark.parametrize("name", ["", None, 1, b"uids", ("uids",), "half a pair \ud800"], ids=ascii)
def test_a_name_that_is_no_text_is_refused(call, name):
    for circuit in Circuit:
        with pytest.raises(ValueError, match="parameter"):
            call(circuit, params={name: "x"})


SHAPELESS = {
    "lone surrogate": "half a pair \ud800",
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "memoryview": memoryview(b"x"),
    "nan": math.nan,
    "infinity": -math.inf,
    "decimal nan": Decimal("NaN"),
    "decimal infinity": Decimal("Infinity"),
    "integer of 5,000 digits": 10**5000,
    "datetime": datetime(2026, 1, 2, tzinfo=UTC),
    "date": date(2026, 1, 2),
    "time": time(12),
    "timedelta": timedelta(1),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "generator": (uid for uid in "12"),
    "range": range(3),
    "dict view": {"1": 2}.keys(),
    "complex": 1j,
    "class": str,
    "object": object(),
}


@both_networks
@pytest.mark.parametrize("value", SHAPELESS.values(), ids=SHAPELESS.keys())
def test_a_value_without_a_form_on_the_wire_is_refused(call, value):
    for circuit in Circuit:
        with pytest.raises(ValueError, match="."):
            call(circuit, params={"v": value})


NESTED = SHAPELESS | {"none": None, "list": [1], "tuple": (), "dict": {"a": 1}, "secret": Secret("x")}


@both_networks
def test_so_is_one_in_a_list(call):
    for value in NESTED.values():
        with pytest.raises(ValueError, match="."):
            call(SERVER, params={"v": ["1", value]})


UNREADABLE = {name: value for name, value in NESTED.items() if name not in ("none", "list", "tuple", "dict")}


@both_networks
def test_so_is_one_in_a_dict(call):
    for value in UNREADABLE.values():
        for nested in ({"a": value}, {"a": [value]}):
            with pytest.raises(ValueError, match="."):
                call(SERVER, params={"v": nested})


@both_networks
@both_circuits
@pytest.mark.parametrize(
    "method",
    [
        "",
        " ",
        "users.",
        ".get",
        "users..get",
        "users get",
        "users/get",
        "users.get&a=1",
        "users.get\n",
        "дай",
    ],
)
def test_what_is_no_method_is_refused(call, circuit, method):
    with pytest.raises(ValueError, match="method"):
        call(circuit, method)


@both_networks
def test_what_is_no_circuit_is_refused(call):
    with pytest.raises(ValueError, match="server"):
        call("server")


@pytest.mark.parametrize(
    ("call", "circuit", "credentials", "token"),
    [
        (call_ok, SERVER, Credentials("512", "", "KEY"), OK_TOKEN),
        (call_ok, SERVER, Credentials("512", "", "KEY"), Token()),
        (call_ok, CLIENT, OK_APP, Token("t1")),
        (call_mailru, SERVER, Credentials("423004", "", "private"), MAILRU_TOKEN),
        (call_mailru, CLIENT, Credentials("423004", "secret", ""), MAILRU_TOKEN),
        (call_mailru, CLIENT, MAILRU_APP, Token("t1")),
    ],
    ids=["ok", "ok-sessionless", "ok-session", "mailru", "mailru-client", "mailru-uid"],
)
def test_an_empty_secret_never_signs(call, circuit, credentials, token):
    with pytest.raises(ValueError, match="empty"):
        call(circuit, credentials=credentials, token=token)


@pytest.mark.parametrize("secret", ["", Secret(""), Secret()])
def test_nothing_is_signed_with_an_empty_secret(secret):
    with pytest.raises(ValueError, match="empty"):
        signature({"method": "x.y"}, secret)


@both_networks
@both_circuits
def test_the_error_about_a_refused_call_holds_no_secret(call, circuit):
    with pytest.raises(ValueError, match=".") as caught:
        call(circuit, params={"note": Secret("mark \ud800")})
    error = caught.value
    while error is not None:
        held = ascii((error.args, vars(error)))
        for secret in (OK_APP, MAILRU_APP):
            assert secret.client_secret.reveal() not in held
            assert secret.client_key.reveal() not in held
        for hidden in (OK_DERIVED, OK_TOKEN.session_secret.reveal(), "mark"):
            assert hidden not in held
        error = error.__context__


def test_signatures_work_where_md5_is_forbidden_for_security(monkeypatch):
    def md5_of_fips(data, *, usedforsecurity=True):
        if usedforsecurity:
            raise ValueError("disabled for FIPS")
        return md5(data, usedforsecurity=False)

    monkeypatch.setattr(signing, "md5", md5_of_fips)
    assert sig(call_mailru(SERVER, "friends.get")) == "4a05af66f80da18b308fa7e536912bae"
    assert sig(call_ok(SERVER, "x.y", {"p": 1, "p1": 2})) == "03e9e97858b2cf613133c80564849767"
