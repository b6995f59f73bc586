"""What can be stored of an application: the model says it, for everybody who asks."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_socialgrants.applications.problems import problems
from django_socialgrants.applications.sync import sync
from django_socialgrants.flows.login import Granted, link
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Identity, Token
from tests.third_network import Meadow


class Gates(Meadow):
    """Two ways in, and clients that are public ones."""

    id = "gates"
    title = "Gates"
    ways = {"north": "North gate", "south": "South gate"}
    required_credentials = ("client_id",)


@pytest.fixture(autouse=True)
def networks(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.test_validation.Gates", "tests.fakes.FakeOK"]


def application(**fields):
    return ProviderCredentials(**{"name": "gates", "provider": "gates", "client_id": "7"} | fields)


def wrong_fields(credentials):
    try:
        credentials.full_clean(validate_unique=False)
    except ValidationError as error:
        return list(error.message_dict)
    return []


def problem_ids(credentials):
    return [problem.id.removeprefix("socialgrants.") for problem in problems(credentials)]


# --- ways in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ways", ["", "north", "south north", " south\nnorth "])
def test_an_application_names_ways_that_its_network_has(ways):
    assert wrong_fields(application(ways=ways)) == problem_ids(application(ways=ways)) == []


@pytest.mark.parametrize(
    "fields", [{"ways": "west"}, {"ways": "north West"}, {"provider": "ok", "ways": "north"}]
)
def test_a_way_that_the_network_does_not_have_is_refused_and_told(fields):
    credentials = application(**fields)
    assert wrong_fields(credentials) == ["ways"]
    assert "W015" in problem_ids(credentials)


# --- native apps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.com/callback",
        "com.example.app:/oauth2redirect",
        "com.example.app://callback?x=1",
        "vk51000001://vk.ru/blank.html",
        "http://127.0.0.1:51004/callback",
        "http://[::1]:51004/",
    ],
)
def test_redirect_uris_of_native_apps_are_of_the_kinds_of_rfc_8252(uri):
    assert wrong_fields(application(native_redirect_uris=uri)) == []


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/callback",
        "http://localhost:8000/",
        "http://127.0.0.1.example.com/",
        "http://user@127.0.0.1@example.com/",
        "https://",
        "https:///callback",
        "https://user@example.com/",
        "https://example.com/#fragment",
        "com.example.app:/callback#",
        "https://example.com:port/",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "/callback",
        "callback",
        "//example.com/",
        "com.example.app:/with space",
        "https://пример.рф/",
        "https://[::1/",
        "https://example.com/" + "x" * 500,
    ],
)
def test_what_is_no_redirect_uri_of_an_app_is_refused_with_its_line(uri):
    credentials = application(native_redirect_uris=f"com.example.app:/callback\n{uri}")
    with pytest.raises(ValidationError) as refusal:
        credentials.full_clean(validate_unique=False)
    [text] = refusal.value.message_dict["native_redirect_uris"]
    assert text.startswith("Line 2: ")
    assert uri not in text


def test_redirect_uris_are_kept_one_a_line():
    credentials = application(
        native_redirect_uris="\r\n  com.example.app:/a \r\n\r\nhttps://example.com/b\r\n"
    )
    assert wrong_fields(credentials) == []
    assert credentials.native_redirect_uris == "com.example.app:/a\nhttps://example.com/b"


def test_native_apps_need_a_network_with_pkce():
    uris = "com.example.app:/callback"
    assert problem_ids(application(native_redirect_uris=uris)) == []
    ok = {"provider": "ok", "client_secret": "00112233445566778899AABB", "client_key": "CGEXAMPLEKEYBABABA"}
    assert problem_ids(application(**ok, native_redirect_uris=uris)) == ["W016"]


# --- public clients -------------------------------------------------------------------------------------


def test_a_public_client_is_asked_for_no_secret(settings, db):
    settings.SOCIALGRANTS_CREDENTIALS = {"gates": {"client_id": "7", "client_secret": ""}}
    [change] = sync()
    assert problem_ids(change.credentials) == []


def test_a_secret_that_a_public_client_does_not_need_is_told():
    assert problem_ids(application(client_secret="a-secret")) == ["W017"]


# --- what is stored -------------------------------------------------------------------------------------


def test_the_setting_names_ways_and_redirect_uris(settings, db):
    declared = {"ways": "south north", "native_redirect_uris": "com.example:/a\nhttps://example.com/b"}
    settings.SOCIALGRANTS_CREDENTIALS = {"gates": {"client_id": "7"} | declared}
    sync()
    stored = ProviderCredentials.objects.get()
    assert {name: getattr(stored, name) for name in declared} == declared
    assert sync() == []
    settings.SOCIALGRANTS_CREDENTIALS["gates"] |= {"ways": None, "native_redirect_uris": ""}
    [change] = sync()
    assert change.fields == {
        "ways": "'south north' -> ''",
        "native_redirect_uris": "'com.example:/a\\nhttps://example.com/b' -> ''",
    }


def test_an_application_that_is_not_stored_is_validated_without_a_database(db):
    with CaptureQueriesContext(connection) as queries:
        assert wrong_fields(application(client_id="\n", ways="west")) == ["client_id", "ways"]
    assert len(queries) == 0


def test_no_message_shows_a_secret():
    credentials = application(client_secret="MARKER\n", client_key="MARKER" * 1000)
    with pytest.raises(ValidationError) as refusal:
        credentials.full_clean(validate_unique=False)
    assert sorted(refusal.value.message_dict) == ["client_key", "client_secret"]
    assert "MARKER" not in f"{refusal.value!r}{refusal.value.error_dict}"


# --- at once ----------------------------------------------------------------------------------------------


def first_token_is_waiting():
    """Whether somebody waits for a lock in this database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else it is the same throughout a transaction
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


@pytest.mark.only_on("postgresql")  # which tells who is waiting
@pytest.mark.django_db(transaction=True)
def test_of_a_first_token_and_a_change_of_the_application_one_is_refused(ok_app):
    anna = User.objects.create_user("anna")
    granted = Granted(ProviderCredentials.objects.get(), Token("access"), Identity("1"), "authorization_code")

    def store():
        try:
            return link(granted, user=anna)
        except Refusal as refusal:
            return refusal.reason
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            ok_app.client_id = "512000000099"
            ok_app.full_clean()
            stored = pool.submit(store)
            while not (first_token_is_waiting() or stored.done()):
                pass
            ok_app.save()
        assert stored.result(60) == "stale_state"
    assert not UserToken.objects.exists()
