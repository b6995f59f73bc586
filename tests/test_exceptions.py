"""The errors: their tree, what they survive, and what they never show."""

import copy
import inspect
import pickle
import re

import pytest

from django_socialgrants import exceptions
from django_socialgrants.exceptions import (
    APIError,
    DeadlineExceeded,
    DecryptionError,
    IdentityTaken,
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    LoginRefused,
    MalformedResponse,
    NeedsLogin,
    OAuthError,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RunFailed,
    ServiceUnavailable,
    SessionExpired,
    SocialGrantsError,
    UnknownCredentials,
    UnknownProvider,
    UnsafeTransaction,
    UnsupportedGrant,
    clean_text,
)

SECRET = "s3cret-0123456789"

ERRORS = [
    SocialGrantsError("anything"),
    UnknownProvider("unknown provider 'okru'; known: ok, mailru"),
    UnknownCredentials("no application is named 'ok'"),
    UnsafeTransaction("a token can't be refreshed here"),
    UnsupportedGrant("OK does not support the implicit grant"),
    IdentityTaken("connected to another user"),
    LoginRefused("ask for an invitation"),
    DecryptionError("a stored secret can't be read", fingerprint="0a1b2c3d", key_known=True),
    RunFailed({"exit": 2, "applications": {"ok": {"problem": "lost_key"}}}),
    NeedsLogin(reason="no_token"),
    NeedsLogin("grant again", reason="invalid_grant"),
    ProviderError("something"),
    ProviderUnavailable("HTTP 503", retry_after=30, sent=True, gateway_status=502),
    DeadlineExceeded("no answer in time", sent=True),
    MalformedResponse("the token answer is no object"),
    OAuthError("invalid_request", "Wrong redirect_uri"),
    InvalidGrant("invalid_grant", "the code was used"),
    InvalidClient("invalid_client"),
    APIError(100, "PARAM : fields", method="users.getInfo"),
    SessionExpired(102, "PARAM_SESSION_EXPIRED", method="friends.get"),
    InvalidSignature(104, "PARAM_SIGNATURE"),
    PermissionDenied(10, "PERMISSION_DENIED"),
    RateLimited(11, "LIMIT_REACHED"),
    ServiceUnavailable(2, "SERVICE"),
]


def attributes(error):
    names = ("reason", "fingerprint", "key_known", "retry_after", "sent", "gateway_status")
    names += ("error", "description", "code", "message", "method")
    return {name: getattr(error, name) for name in names if hasattr(error, name)}


def drawn_tree():
    """Name of every class in the docstring -> name of the class above it."""
    above, parents = {}, {}
    for line in exceptions.__doc__.splitlines():
        if drawn := re.match(r"    (?P<branches>[│├└─ ]*)(?P<name>[A-Z]\w+)", line):
            depth = len(drawn["branches"]) // 4
            above[depth] = drawn["name"]
            parents[drawn["name"]] = above[depth - 1] if depth else "Exception"
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    classes = [item for _, item in inspect.getmembers(exceptions, inspect.isclass)]
    errors = [item for item in classes if item.__module__ == exceptions.__name__]
    assert drawn_tree() == {error.__name__: error.__bases__[0].__name__ for error in errors}


def test_a_service_that_is_out_of_order_is_unavailable_as_well_as_a_refused_call():
    assert issubclass(ServiceUnavailable, APIError)
    assert issubclass(ServiceUnavailable, ProviderUnavailable)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_every_error_comes_through_copying_and_pickling_with_all_it_says(error):
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, attributes(twin)) == (str(error), error.args, attributes(error))


def test_every_class_of_the_tree_is_among_the_errors_tested_here():
    assert {type(error).__name__ for error in ERRORS} == drawn_tree().keys()


def test_the_status_with_which_a_page_passes_a_failure_on_tells_kinds_of_failure_apart():
    statuses = {
        type(error).__name__: error.gateway_status for error in ERRORS if hasattr(error, "gateway_status")
    }
    assert {name for name, status in statuses.items() if status == 504} == {"DeadlineExceeded"}
    assert {name for name, status in statuses.items() if status == 503} == {
        "RateLimited",
        "ServiceUnavailable",
    }
    assert ProviderUnavailable("no connection").gateway_status == 503


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Wrong redirect_uri", "Wrong redirect_uri"),
        ("Неверный код", "Неверный код"),
        ("  two\r\nlines\tof   text ", "two lines of text"),
        ("\x1b[31mred\x00\x07", "[31mred"),
        ("left\u202eright\u2028next\u200b", "left right next"),
        ("half a pair \ud800", "half a pair"),
        ("", ""),
        (" \n", ""),
        (None, ""),
        (104, ""),
        (["text"], ""),
        ({"text": 1}, ""),
        (b"text", ""),
    ],
)
def test_a_text_of_a_network_becomes_one_printable_line(text, clean):
    assert clean_text(text) == clean


def test_a_text_of_a_network_is_at_most_200_characters_long():
    assert clean_text("x" * 200) == "x" * 200
    assert clean_text("x" * 201) == "x" * 199 + "…"
    assert len(clean_text("слово " * 100_000)) == 200
    assert clean_text("abcdef", limit=4) == "abc…"


def test_errors_clean_what_networks_say():
    noise = "a\nb\x00" + "c" * 500
    oauth, api = OAuthError(noise, noise), APIError(1, noise, method="users.getInfo")
    for text in (oauth.error, oauth.description, api.message):
        assert text.startswith("a b c")
        assert len(text) == 200
    assert "\n" not in str(oauth) + str(api)
    assert str(api).startswith("users.getInfo failed with code 1: a b ccc")


@pytest.mark.parametrize("description", [None, 7, ["x"], {"x": "y"}])
def test_a_description_that_is_no_string_is_none(description):
    assert OAuthError("invalid_request", description).description == ""
    assert str(OAuthError("invalid_request", description)) == "invalid_request"


@pytest.mark.parametrize(
    "error",
    [
        ProviderError(f"{SECRET} is wrong"),
        ProviderUnavailable(f"could not send {SECRET}"),
        MalformedResponse(f"what is {SECRET}?"),
        OAuthError("invalid_request", f"{SECRET} is wrong"),
        InvalidGrant(SECRET, SECRET),
        APIError(100, f"PARAM : {SECRET}", method=SECRET),
        ServiceUnavailable(2, f"{SECRET} {SECRET}"),
    ],
    ids=repr,
)
def test_redacting_masks_a_secret_in_every_text_of_an_error(error):
    error.redact([SECRET])
    seen = f"{error} {error!r} {error.args} {vars(error)}"
    assert SECRET not in seen
    assert exceptions.MASK in seen


def test_redacting_leaves_everything_else_as_it_is():
    error = APIError(104, f"PARAM_SIGNATURE : {SECRET}", method="users.getInfo")
    error.redact([SECRET])
    assert (error.code, error.message, error.method) == (104, "PARAM_SIGNATURE : ***", "users.getInfo")
    unavailable = ProviderUnavailable("HTTP 429", retry_after=30, sent=True)
    unavailable.redact([SECRET])
    assert (unavailable.retry_after, unavailable.sent, str(unavailable)) == (30, True, "HTTP 429")


def test_of_two_secrets_where_one_begins_like_the_other_both_are_masked():
    error = MalformedResponse("abcd-1234 and abcd")
    error.redact(["abcd", "abcd-1234"])
    assert str(error) == "*** and ***"


def test_redacting_does_not_tear_words_apart_for_secrets_that_are_none():
    error = MalformedResponse("the answer is no object")
    error.redact(["", "a", "the", "a   \n"])
    assert str(error) == "the answer is no object"


@pytest.mark.parametrize("shown", [4, 10, len(SECRET) - 1])
def test_a_secret_that_the_limit_of_a_text_cuts_in_two_is_masked_too(shown):
    text = "x" * (199 - shown) + SECRET + " is wrong"
    for error in (OAuthError("invalid_request", text), OAuthError(text, "and why"), APIError(100, text)):
        error.redact([SECRET])
        assert SECRET[:4] not in f"{error} {error!r} {vars(error)}"


@pytest.mark.parametrize("password", ["correct  horse\tbattery", " correct horse ", "correct\u00a0horse"])
def test_a_secret_whose_blanks_were_cleaned_away_is_masked_too(password):
    error = OAuthError("invalid_grant", f"the password {password} is wrong")
    error.redact([password])
    assert "horse" not in f"{error} {error.description}"
