"""What checks say of the applications, as the setting declares them and as the database has them."""

import json
from contextlib import contextmanager

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.db import connection
from django.utils.translation import override

from django_socialgrants import crypto
from django_socialgrants.applications.problems import problems
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Secret

OK_SECRET = "00112233445566778899AABB"
OK_KEY = "CGEXAMPLEKEYBABABA"
RIGHT = {
    "ok": {"provider": "ok", "client_id": "512000000000", "client_secret": OK_SECRET, "client_key": OK_KEY},
    "mailru": {
        "provider": "mailru",
        "client_id": "423004",
        "client_secret": "3dad9cbf9baaa0360c0f2ba372d25716",
        "client_key": "7815696ecbf1c96e6894b779456d330e",
    },
}

PROBLEMS = [
    ("W002", "ok", "client_secret", ""),
    ("W002", "ok", "client_key", ""),
    ("W002", "mailru", "client_secret", ""),
    ("W003", "ok", "client_id", " 512000000000"),
    ("W003", "ok", "client_secret", f"{OK_SECRET} "),
    ("W003", "ok", "client_key", f" {OK_KEY}"),
    ("W003", "mailru", "client_secret", "3dad9cbf9baaa036 0c0f2ba372d25716"),
    ("W003", "mailru", "client_secret", " "),
    ("W004", "ok", "client_id", "..."),
    ("W004", "ok", "client_secret", "..."),
    ("W004", "ok", "client_secret", "***"),
    ("W004", "mailru", "client_secret", "<secret key>"),
    ("W004", "mailru", "client_key", "change-me"),
    ("W004", "mailru", "client_id", "YOUR_APP_ID"),
    ("W005", "ok", "client_id", OK_KEY),
    ("W005", "ok", "client_id", "512000000000a"),
    ("W005", "ok", "client_id", "٥١٢"),
    ("W006", "mailru", "client_secret", RIGHT["mailru"]["client_key"]),
    ("W006", "ok", "client_secret", OK_KEY),
    ("W007", "ok", "client_secret", f"{OK_KEY[:5]}ABABA"),
    ("W008", "ok", "client_key", "BBAA99887766554433221100"),
]

MISTAKES = [
    (7, "must be a dict"),
    ([("ok", {})], "must be a dict"),
    ({"ok": None}, "ok: it must be a dict of fields"),
    ({"ok": {}}, "ok.client_id: is missing"),
    ({"ok": {"client_id": ""}}, "ok.client_id: is missing"),
    ({"ok": {"client_id": 512000000000}}, "ok.client_id: must be a string, not int"),
    ({"ok": {"client_id": None}}, "ok.client_id: must be a string, not NoneType"),
    ({"ok": {"client_id": "1" * 256}}, "ok.client_id: Ensure this value has at most 255 characters"),
    ({"ok": {"client_id": "1\n"}}, "ok.client_id: It holds a line break"),
    ({"ok": {"client_id": "1", "client_secret": ""}}, "ok.client_secret: is empty; to remove what is stored"),
    ({"ok": {"client_id": "1", "client_secret": Secret()}}, "ok.client_secret: is empty"),
    ({"ok": {"client_id": "1", "client_secret": b"x"}}, "ok.client_secret: must be a string, not bytes"),
    ({"ok": {"client_id": "1", "client_secret": "x\0"}}, "ok.client_secret: It holds a line break"),
    ({"ok": {"client_id": "1", "client_key": "\udcff"}}, "ok.client_key: It holds a line break"),
    (
        {"ok": {"client_id": "1", "client_key": "x" * 4097}},
        "ok.client_key: It is longer than 4096 characters",
    ),
    ({"ok": {"client_id": "1", "scope": ["A", "B"]}}, "ok.scope: must be a string, not list"),
    (
        {"ok": {"client_id": "1", "scope": "s" * 1001}},
        "ok.scope: Ensure this value has at most 1000 characters",
    ),
    ({"ok": {"client_id": "1", "implicit_enabled": "no"}}, "ok.implicit_enabled: must be True or False"),
    ({"ok": {"client_id": "1", "implicit_enabled": 1}}, "ok.implicit_enabled: must be True or False"),
    ({"ok": {"client_id": "1", "secret": "x"}}, "ok.secret: there is no such field; there are provider, "),
    ({"ok": {"client_id": "1", "id": 7}}, "ok.id: there is no such field"),
    ({"ok": {"client_id": "1", "created_at": None}}, "ok.created_at: there is no such field"),
    ({"ok": {"client_id": "1", 7: 7}}, "ok.7: there is no such field"),
    (
        {"ok": {"client_id": "1", "provider": "okru"}},
        "ok.provider: Value 'okru' is not a valid choice. Known: ok, mailru.",
    ),
    ({"ok": {"client_id": "1", "provider": None}}, "ok.provider: must be a string, not NoneType"),
    ({"shop": {"client_id": "1"}}, "shop.provider: Value 'shop' is not a valid choice. Known: ok, mailru."),
    ({"my shop": {"client_id": "1", "provider": "ok"}}, "my shop.name: Enter a valid “slug”"),
    ({"магазин": {"client_id": "1", "provider": "ok"}}, "магазин.name: Enter a valid “slug”"),
    ({"": {"client_id": "1", "provider": "ok"}}, "name: This field cannot be blank."),
    ({7: {"client_id": "1", "provider": "ok"}}, "int: its name must be a string"),
    ({"x" * 51: {"client_id": "1", "provider": "ok"}}, "name: Ensure this value has at most 50 characters"),
    ({"ok": {"client_id": "1", "ways": "ok_ru"}}, "ok.ways: The network has no way in that is called ok_ru"),
    ({"ok": {"client_id": "1", "native_redirect_uris": "/here"}}, "ok.native_redirect_uris: Line 1: no URI."),
]


def found(**options):
    tags = ["socialgrants", Tags.database] if options.get("databases") else ["socialgrants"]
    messages = [message for message in run_checks(tags=tags, **options) if "socialgrants" in message.id]
    assert all(message.hint and "%(" not in f"{message.msg}{message.hint}" for message in messages)
    return [(message.id.removeprefix("socialgrants."), message.msg) for message in messages]


def ids(**options):
    return [wanted for wanted, _ in found(**options)]


def store(**changes):
    return ProviderCredentials.objects.create(**{"name": "ok", **RIGHT["ok"], **changes})


# --- what looks wrong with one application ---------------------------------------------------------------


@pytest.mark.parametrize("network", RIGHT)
def test_credentials_as_the_networks_give_them_out_are_fine(network):
    assert problems(ProviderCredentials(name="shop", **RIGHT[network])) == []


@pytest.mark.parametrize(("wanted", "network", "field", "value"), PROBLEMS)
def test_what_looks_wrong_is_told_in_the_words_of_the_network(wanted, network, field, value):
    credentials = ProviderCredentials(name="shop", **RIGHT[network] | {field: value})
    [problem] = problems(credentials)
    assert (problem.id, problem.field) == (f"socialgrants.{wanted}", field)
    assert credentials.get_provider().labels[field] in problem.message
    assert problem.hint


def test_keys_that_were_exchanged_are_told():
    exchanged = RIGHT["ok"] | {"client_secret": OK_KEY, "client_key": OK_SECRET}
    [problem] = problems(ProviderCredentials(name="ok", **exchanged))
    assert (problem.id, problem.field) == ("socialgrants.W007", "client_secret")


def test_an_application_of_mailru_may_have_no_key_of_clients():
    assert problems(ProviderCredentials(name="mailru", **RIGHT["mailru"] | {"client_key": ""})) == []


def test_several_problems_are_told_at_once():
    found = problems(ProviderCredentials(name="ok", provider="ok", client_id="x"))
    assert [problem.id[-4:] for problem in found] == ["W005", "W002", "W002"]


def test_an_application_of_a_network_that_the_site_left_is_not_measured(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["django_socialgrants.providers.ok.OK", "no.such.Network"]
    assert problems(ProviderCredentials(name="ok", provider="ok", client_id="x")) == []
    settings.SOCIALGRANTS_PROVIDERS = ["django_socialgrants.providers.ok.OK"]
    assert problems(ProviderCredentials(name="mailru", provider="mailru", client_id="x")) == []


@pytest.mark.parametrize(("wanted", "network", "field", "value"), PROBLEMS)
def test_no_problem_shows_a_value(wanted, network, field, value):
    fields = RIGHT[network] | {field: value}
    text = str(problems(ProviderCredentials(name="shop", **fields)))
    for name in ("client_secret", "client_key"):
        assert len(fields[name]) < 4 or fields[name] not in text


# --- the setting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("declared", "wanted"), MISTAKES)
def test_what_can_not_be_stored_is_an_error(settings, declared, wanted):
    settings.SOCIALGRANTS_CREDENTIALS = declared
    [(found_id, message)] = found()
    assert found_id == "E018"
    assert message.startswith("SOCIALGRANTS_CREDENTIALS")
    assert wanted in message


@pytest.mark.parametrize(("wanted", "network", "field", "value"), [row for row in PROBLEMS if row[-1]])
def test_what_looks_wrong_in_the_setting_is_told_without_a_database(settings, wanted, network, field, value):
    settings.SOCIALGRANTS_CREDENTIALS = {**RIGHT, "shop": RIGHT[network] | {field: value}}
    [(found_id, message)] = found()
    assert found_id == wanted
    assert message.startswith("SOCIALGRANTS_CREDENTIALS: shop: client_")


def test_the_right_setting_is_silent_even_when_its_networks_name_themselves(settings):
    settings.SOCIALGRANTS_CREDENTIALS = {
        name: {field: value for field, value in fields.items() if field != "provider"}
        for name, fields in RIGHT.items()
    }
    assert found() == []


def test_the_implicit_grant_is_told_on_a_server(settings):
    settings.SOCIALGRANTS_CREDENTIALS = {**RIGHT, "shop": RIGHT["ok"] | {"implicit_enabled": True}}
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["ih8D18ZcsiCQRP57HZJsqDBf8ea5LQxHoxh7ZdDym8M="]
    assert found() == []
    [(wanted, message)] = found(include_deployment_checks=True)
    assert wanted == "W009"
    assert "shop" in message
    assert "RFC 9700" in run_checks(tags=["socialgrants"], include_deployment_checks=True)[0].hint


# --- the database ----------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(("wanted", "network", "field", "value"), PROBLEMS)
def test_what_looks_wrong_in_the_database_is_told_when_it_is_asked(wanted, network, field, value):
    store(**RIGHT[network] | {"name": "shop", field: value})
    store()
    assert found() == []
    [(found_id, message)] = found(databases=["default"])
    assert found_id == wanted
    assert message.startswith("default.socialgrants_providercredentials: shop: client_")


@pytest.mark.django_db
def test_the_implicit_grant_in_the_database_is_told_on_a_server(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["ih8D18ZcsiCQRP57HZJsqDBf8ea5LQxHoxh7ZdDym8M="]
    store(implicit_enabled=True)
    assert ids(databases=["default"]) == []
    assert ids(include_deployment_checks=True) == []
    assert ids(databases=["default"], include_deployment_checks=True) == ["W009"]


@pytest.mark.django_db
def test_a_secret_whose_key_is_lost_is_told_with_the_name_of_the_key(settings):
    store()
    fingerprint = crypto.keys()[0].fingerprint
    settings.SECRET_KEY = "another-secret-key-that-knows-nothing-of-the-first"
    messages = found(databases=["default"])
    assert [wanted for wanted, _ in messages] == ["W001", "W001"]
    assert all(fingerprint in message for _, message in messages)


@pytest.mark.django_db
def test_a_malformed_key_is_told_and_not_every_secret_that_it_makes_unreadable(settings):
    store()
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["nonsense"]
    assert ids(databases=["default"]) == ["E003"]


def test_a_database_that_is_not_named_is_left_alone():
    """There is no access to a database in this test: a query would raise."""
    assert ids() == ids(databases=[]) == ids(databases=None) == []


@contextmanager
def without_table(model):
    """Moved away on any database, and back again."""
    table = model._meta.db_table
    with connection.schema_editor() as editor:
        editor.alter_db_table(model, table, f"{table}_away")
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(model, f"{table}_away", table)


@pytest.mark.django_db(transaction=True)
def test_a_database_before_its_first_migration_is_silent():
    with without_table(UserToken), without_table(ProviderCredentials):
        assert ids(databases=["default"], include_deployment_checks=True) == ["W010"]
    store()


@pytest.mark.django_db
def test_a_missing_table_does_not_spoil_the_transaction_of_who_asks():
    ProviderCredentials._meta.db_table, table = "no_such_table", ProviderCredentials._meta.db_table
    try:
        assert ids(databases=["default"]) == []
    finally:
        ProviderCredentials._meta.db_table = table
    store()


def test_a_database_that_holds_other_things_is_left_alone(settings):
    class Elsewhere:
        def allow_migrate(self, db, app_label, **hints):
            return False

    settings.DATABASE_ROUTERS = [Elsewhere()]
    assert ids(databases=["default"]) == []


@pytest.mark.django_db
def test_manage_py_check_shows_it_and_migrate_is_not_held_up_by_it(capsys):
    store(client_secret="")
    call_command("check", databases=["default"])
    assert "socialgrants.W002" in capsys.readouterr().err
    call_command("migrate", verbosity=0, skip_checks=False)


# --- MySQL and MariaDB -----------------------------------------------------------------------------------


def mysql(statement):
    """Run a statement of theirs; other databases have nothing of the kind."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(statement)


def on_mysql(*wanted):
    return list(wanted) if connection.vendor == "mysql" else []


@contextmanager
def column(model, name, character_set, collation):
    """A column with letters of another kind, and back again."""
    table = model._meta.db_table
    described = (
        "SELECT column_type, character_set_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND table_name = %s AND column_name = %s"
    )
    if connection.vendor != "mysql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(described, [table, name])
        [(kind, *before)] = cursor.fetchall()
        change = f"ALTER TABLE {table} MODIFY {name} {kind} CHARACTER SET %s COLLATE %s NOT NULL"
        cursor.execute(change % (character_set, collation))
        try:
            yield
        finally:
            cursor.execute(change % tuple(before))


@pytest.mark.django_db
def test_a_connection_that_cannot_say_every_name_is_told():
    mysql("SET NAMES latin1")
    try:
        assert ids(databases=["default"]) == on_mysql("W013")
    finally:
        mysql("SET NAMES utf8mb4")
    assert ids(databases=["default"]) == []


@pytest.mark.django_db(transaction=True)
def test_a_column_that_cannot_hold_every_name_is_told():
    with column(get_user_model(), "first_name", "latin1", "latin1_swedish_ci"):
        messages = found(databases=["default"])
    assert [wanted for wanted, _ in messages] == on_mysql("W013")
    assert all("auth_user.first_name" in message for _, message in messages)
    assert ids(databases=["default"]) == []


@pytest.mark.django_db(transaction=True)
def test_ids_with_letters_need_a_collation_that_tells_them_apart(settings):
    """Digits don't: no collation equates two of them."""
    with column(UserToken, "uid", "utf8mb4", "utf8mb4_general_ci"):
        assert ids(databases=["default"]) == []
        settings.SOCIALGRANTS_PROVIDERS = ["tests.third_network.Meadow"]
        assert ids(databases=["default"]) == on_mysql("W014")
    with column(UserToken, "uid", "utf8mb4", "utf8mb4_bin"):
        assert ids(databases=["default"]) == []


# --- for every reader ------------------------------------------------------------------------------------


def test_problems_are_told_in_the_active_language():
    """Whatever the catalogue holds by now: nothing is translated when the module is imported."""
    credentials = ProviderCredentials(name="ok", provider="ok", client_id="1")
    with override("ru"):
        assert all(type(problem.message) is type(problem.hint) is str for problem in problems(credentials))


def test_problems_are_plain_values():
    json.dumps(problems(ProviderCredentials(name="ok", provider="ok", client_id="1")))
