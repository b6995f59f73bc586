"""Every published example that reproduces, and our own where nothing is published."""

from urllib.parse import quote

import pytest

from django_socialgrants.sandbox.signatures import (
    mailru_client_signature,
    mailru_server_signature,
    ok_session_secret,
    ok_signature,
)


@pytest.mark.parametrize(
    ("params", "token", "application_secret", "expected"),
    [
        (
            {"application_key": "ABCDEFGHIGKLMNOPK", "format": "json", "method": "events.get"},
            "-s-84W-s3egarWUsbkq-IWTucuedzTKT8VUXIA.s4Xx8IW7",
            "ABC123DEF456GHI789JKL123",
            "232c8eb921951c4dba9b72606f9ddb4c",
        ),
        (
            {"aaa": "7", "bbb": "opka"},
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
        (
            {"application_key": "publicsecret", "format": "json", "method": "users.getCurrentUser"},
            "secret-access-token",
            "my-client-secret",
            "3cf98d2df29c82be6964f3dfe56c188b",
        ),
    ],
)
def test_published_examples_of_oks_server_circuit_reproduce(params, token, application_secret, expected):
    assert ok_signature(params, ok_session_secret(token, application_secret)) == expected


def test_the_published_example_of_oks_client_circuit_reproduces():
    params = {"application_key": "ABCDEFGHIGKLMNOPK", "format": "json", "method": "events.get"}
    assert ok_signature(params, "ae5362b5b588cc7294c2414d71b74d5d") == "03a41413523ea8092507949d6e711963"


OK_COMMON = {"application_key": "CGEXAMPLEKEYBABABA", "format": "json"}
OK_SERVER = ok_session_secret("tkn.example-0001", "00112233445566778899AABB")
OK_CLIENT = "0f343b0931126a20f133d67c2b018a3b"
GREETING = "Привет, мир! Ёж & 1+1=2"


@pytest.mark.parametrize(
    ("params", "server", "client"),
    [
        (
            {"method": "users.getCurrentUser", "fields": "uid,first_name,last_name,name,email"},
            "a6b375e8c81819b3ca962d378d71fa22",
            "36762325e3b40fdf61d5438b7de39ead",
        ),
        (
            {"method": "x.y", "p": "1", "p1": "2"},
            "03e9e97858b2cf613133c80564849767",
            "964de754da2ca27e8424e45de2269489",
        ),
        (
            {"method": "users.setStatus", "status": GREETING},
            "df436555acf918ae8d5273d574acb4f1",
            "2881eb339fbaa3347e52f2dbf4d25e89",
        ),
        (
            {"method": "friends.get", "offset": "0", "with_details": "true"},
            "26852cfd012fc42a963b213d949a4f94",
            "ee45a17c1473cb23ff23f972984ed164",
        ),
        (
            {"method": "friends.get", "offset": "0", "with_details": "true", "sort": ""},
            "feb3518901a33b79880e19fe09635d02",
            "0caa53fecffbd0d61d5029e16b6c3875",
        ),
        ({}, "ebc9aa1c70e65ea06f72202ac193539c", "045b0f3ffcf375f10c233e4869b59a6d"),
    ],
)
def test_ok_signs_names_in_order_and_values_as_they_are(params, server, client):
    unsigned = {"access_token": "tkn.example-0001", "session_key": "x", "sig": "y", "resig": "z"}
    assert ok_signature(OK_COMMON | params | unsigned, OK_SERVER) == server
    assert ok_signature(OK_COMMON | params | unsigned, OK_CLIENT) == client


def test_ok_signs_calls_without_session_with_the_application_secret():
    params = OK_COMMON | {"method": "users.getInfo", "uids": "1,2,3", "fields": "uid,name"}
    assert ok_signature(params, "00112233445566778899AABB") == "65c2ae9774d4914e2a60f517a1491aef"


def test_ok_does_not_sign_percent_encoded_values():
    params = OK_COMMON | {"method": "users.setStatus", "status": quote(GREETING)}
    assert ok_signature(params, OK_SERVER) != "df436555acf918ae8d5273d574acb4f1"


UID = "1324730981306483817"
PRIVATE_KEY = "7815696ecbf1c96e6894b779456d330e"
SECRET_KEY = "3dad9cbf9baaa0360c0f2ba372d25716"
SESSION = {"app_id": "423004", "session_key": "be6ef89965d58e56dec21acb9b62bdaa"}


@pytest.mark.parametrize(
    ("params", "client", "client_0", "server"),
    [
        (
            # Published for both circuits.
            {"method": "friends.get"},
            "5073f15c6d5b6ab2fde23ac43332b002",
            "ebe80f4b77ae55b909fff4d9c6806da7",
            "4a05af66f80da18b308fa7e536912bae",
        ),
        (
            {"method": "users.getInfo"},
            "945f133f1c74e33aee7cfa63139e907a",
            "48fd57cc65e7ca94ab11559faf08fee9",
            "02737a6844aa0941cd13680d69418905",
        ),
        (
            {"method": "users.getInfo", "format": "json", "uids": f"{UID},12900285598278158001"},
            "4eb386a24bebef1bdd2a87d2cd3b2557",
            "34f1e2cff1d3b5328a8862c2d985fba9",
            "4c793fca299520048858caab88faa561",
        ),
        (
            {"method": "stream.post", "user_text": GREETING},
            "563356ca7eede40f62057e79b468ed64",
            "1c72cb6fb6fd0ba5dcabb4f7354457d4",
            "9837cc307b46841e16f801028b9a5f23",
        ),
        (
            {"method": "friends.get", "ext": "1", "offset": "0"},
            "e0149e450a96d9d1b94b68f3cd01bfbf",
            "7f7753bf200ec36ca60ba8a986fc3516",
            "9d107568e75275ab249c4377d73f1a68",
        ),
        (
            {"method": "x.y", "p": "1", "p1": "2"},
            "2bb4148dcaaa150901d7accf82008ba5",
            "e7627bcd2d1c94cce89664677e4aedff",
            "c5ada75829d41f54c7079d2399f707e0",
        ),
    ],
)
def test_mailru_signs_everything_but_sig_in_both_circuits(params, client, client_0, server):
    params = SESSION | params | {"sig": "ignored"}
    assert mailru_client_signature(params, UID, PRIVATE_KEY) == client
    assert mailru_client_signature(params | {"secure": "0"}, UID, PRIVATE_KEY) == client_0
    assert mailru_server_signature(params | {"secure": "1"}, SECRET_KEY) == server


def test_mailru_signs_calls_without_session_in_the_server_circuit():
    params = {"app_id": "423004", "method": "users.getInfo", "uid": UID, "format": "json", "secure": "1"}
    assert mailru_server_signature(params, SECRET_KEY) == "40fbf6babb6128adcc286e76765f428f"
