"""manage.py sync_credentials: the setting goes into the database, whole or not at all."""

import sys
import threading
from io import StringIO
from typing import NamedTuple

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_socialgrants.applications.sync import sync
from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Secret

pytestmark = pytest.mark.django_db

OK = {
    "provider": "ok",
    "client_id": "512000000000",
    "client_secret": "MARKER-OK-SECRET",
    "client_key": "CMARKERABABA",
    "scope": "VALUABLE_ACCESS GET_EMAIL",
}
MAILRU = {"client_id": "423004", "client_secret": "MARKER-MAILRU-SECRET", "implicit_enabled": True}
SECRETS = ("MARKER", "STORED")


class Said(NamedTuple):
    out: str
    err: str


def run(*args, **options):
    """What the command said; it never says a secret, whatever it did."""
    out, err = StringIO(), StringIO()
    try:
        call_command("sync_credentials", *args, stdout=out, stderr=err, **options)
    except CommandError as error:
        assert not any(secret in str(error) for secret in SECRETS)
        assert out.getvalue() == ""
        raise
    assert not any(secret in f"{out.getvalue()}{err.getvalue()}" for secret in SECRETS)
    return Said(out.getvalue(), err.getvalue())


def refused(*args):
    with pytest.raises(CommandError) as refusal:
        run(*args)
    assert refusal.value.returncode == 2
    return str(refusal.value)


def rows():
    """Everything in the table, as the database has it: ciphertexts and times, too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM socialgrants_providercredentials ORDER BY id")
        return list(cursor.fetchall())


def stored(name):
    row = ProviderCredentials.objects.get(name=name)
    secrets = {field: getattr(row, field).reveal() for field in ("client_secret", "client_key")}
    return {field: getattr(row, field) for field in (*OK, "implicit_enabled")} | secrets


def make(name="ok", **changes):
    fields = {**OK, "client_secret": "STORED-SECRET", "client_key": "CSTOREDABABA"} | changes
    return ProviderCredentials.objects.create(name=name, **fields)


def grant(credentials, user, uid="1"):
    return UserToken.objects.create(user=user, credentials=credentials, uid=uid, access_token="STORED-TOKEN")


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create(username="anna")


@pytest.fixture(autouse=True)
def declared(settings):
    """The setting, to be changed in place."""
    settings.SOCIALGRANTS_CREDENTIALS = {"ok": dict(OK), "mailru": dict(MAILRU)}
    return settings.SOCIALGRANTS_CREDENTIALS


# --- what it writes --------------------------------------------------------------------------------------


def test_applications_of_the_setting_are_stored():
    said = run()
    assert stored("ok") == {**OK, "implicit_enabled": False}
    assert stored("mailru") == {
        "provider": "mailru",  # as its name says
        "client_id": "423004",
        "client_secret": "MARKER-MAILRU-SECRET",
        "client_key": "",
        "scope": "",
        "implicit_enabled": True,
    }
    assert said.out == (
        "create ok\n"
        "  provider: 'ok'\n"
        "  client_id: '512000000000'\n"
        "  client_secret: set\n"
        "  client_key: set\n"
        "  scope: 'VALUABLE_ACCESS GET_EMAIL'\n"
        "create mailru\n"
        "  provider: 'mailru'\n"
        "  client_id: '423004'\n"
        "  client_secret: set\n"
        "  implicit_enabled: True\n"
    )
    assert said.err == "Created: 2, updated: 0, deleted: 0, with 0 token(s) of users.\n"


def test_a_second_run_writes_nothing():
    run()
    before = rows()
    said = run()
    assert rows() == before
    assert said == Said("", "Nothing to change.\n")


def test_only_what_differs_is_written(declared):
    run()
    before = {row.name: row for row in ProviderCredentials.objects.all()}
    declared["ok"] |= {"client_secret": "MARKER-NEW", "client_key": None, "scope": "LONG_ACCESS_TOKEN"}
    declared["mailru"]["client_key"] = "MARKER-KEY"
    said = run()
    assert said.out == (
        "update ok\n"
        "  client_secret: changed\n"
        "  client_key: removed\n"
        "  scope: 'VALUABLE_ACCESS GET_EMAIL' -> 'LONG_ACCESS_TOKEN'\n"
        "update mailru\n"
        "  client_key: set\n"
    )
    assert stored("ok")["client_secret"] == "MARKER-NEW"
    assert stored("ok")["client_key"] == ""
    after = {row.name: row for row in ProviderCredentials.objects.all()}
    assert after["ok"].updated_at > before["ok"].updated_at
    assert after["ok"].created_at == before["ok"].created_at
    kept = [row["mailru"].client_secret.ciphertext for row in (before, after)]
    assert kept[0] == kept[1]


def test_a_row_that_does_not_differ_stays_untouched_beside_one_that_does(declared):
    run()
    before = rows()
    declared["ok"]["scope"] = ""
    run()
    changed = [old[1] for old, new in zip(before, rows(), strict=True) if old != new]
    assert changed == ["ok"]


def test_fields_that_the_setting_does_not_name_keep_what_they_have(declared):
    make(scope="A B", implicit_enabled=True)
    declared["ok"] = {"client_id": "512000000000", "client_secret": "MARKER-NEW"}
    assert run().out.startswith("update ok\n  client_secret: changed\ncreate mailru\n")
    assert stored("ok") == {
        **OK,
        "client_secret": "MARKER-NEW",
        "client_key": "CSTOREDABABA",
        "scope": "A B",
        "implicit_enabled": True,
    }


@pytest.mark.parametrize("nothing", ["", None])
def test_an_empty_value_empties_a_field_that_logins_can_do_without(declared, nothing):
    make("mailru", provider="mailru", client_id="423004", scope="A B")
    declared["mailru"] |= {"scope": nothing, "client_key": nothing}
    assert "client_key: removed" in run().out
    assert (stored("mailru")["scope"], stored("mailru")["client_key"]) == ("", "")


@pytest.mark.parametrize("field", ["client_secret", "client_key"])
def test_what_no_login_works_without_is_removed_only_if_that_is_said(declared, field):
    """An unset variable of the environment is read as an empty one."""
    make()
    before = rows()
    declared["ok"][field] = ""
    assert f"ok.{field}: is empty; to remove what is stored, say None" in refused()
    assert rows() == before
    declared["ok"][field] = None
    assert f"  {field}: removed\n" in run().out
    assert stored("ok")[field] == ""


def test_secrets_may_be_wrapped(declared):
    declared["ok"] |= {"client_secret": Secret("MARKER-WRAPPED")}
    run()
    assert stored("ok")["client_secret"] == "MARKER-WRAPPED"
    assert run().out == ""


def test_a_dry_run_tells_the_same_and_writes_nothing(declared):
    make("old")
    make("ok", scope="A")
    before = rows()
    said = run("--dry-run", "--prune")
    assert rows() == before
    assert said.err == (
        "Nothing was changed. To create: 1, to update: 1, to delete: 1, with 0 token(s) of users.\n"
    )
    assert run("--prune").out == said.out
    assert "delete old" in said.out


def test_what_looks_wrong_is_told_on_the_way(declared):
    declared["ok"]["client_id"] = "not-digits"
    said = run()
    assert "ok: client_id (application id) does not look like one of OK" in said.err
    assert "does not look" not in said.out
    assert stored("ok")["client_id"] == "not-digits"


def test_it_can_be_silent():
    make("mailru", provider="mailru", client_id="423004")
    assert run(verbosity=0).err == ""


# --- what it refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("secret", "MARKER", "ok.secret: there is no such field"),
        ("provider", "okru", "ok.provider: Value 'okru' is not a valid choice. Known: ok, mailru."),
        ("client_id", "", "ok.client_id: is missing"),
        ("client_id", None, "ok.client_id: must be a string"),
        ("client_id", "1" * 256, "ok.client_id: Ensure this value has at most 255 characters (it has 256)"),
        ("client_secret", 7, "ok.client_secret: must be a string, not int"),
        ("client_secret", "MARKER\n", "ok.client_secret: It holds a line break"),
        ("client_key", "MARKER" * 1000, "ok.client_key: It is longer than 4096 characters"),
        ("client_key", "MARKER\udcff", "ok.client_key: It holds a line break"),
        ("implicit_enabled", "True", "ok.implicit_enabled: must be True or False"),
    ],
)
def test_a_mistake_anywhere_and_nothing_is_written(declared, field, value, text):
    make("mailru", provider="mailru")
    before = rows()
    declared["ok"][field] = value
    assert text in refused()
    assert text in refused("--dry-run")
    assert rows() == before


def test_all_mistakes_are_told_at_once(declared):
    declared["ok"] |= {"client_id": "", "secret": "MARKER"}
    declared["my shop"] = dict(OK)
    text = refused()
    assert all(place in text for place in ("ok.client_id", "ok.secret", "my shop"))


def test_a_malformed_encryption_key_is_told(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["MARKER-that-is-no-key"]
    assert "SOCIALGRANTS_ENCRYPTION_KEYS[0]" in refused()
    assert rows() == []


@pytest.mark.parametrize("change", [{"client_id": "512000000001"}, {"provider": "mailru"}])
def test_an_application_with_tokens_is_not_turned_into_another_one(declared, user, change):
    """Whoever has the same user id there would be let in as the user of here."""
    grant(make(), user)
    before = rows()
    declared["ok"] |= change
    text = refused()
    assert text in refused("--dry-run")
    assert f"ok.{next(iter(change))}: It has 1 token of a user" in text
    assert rows() == before


def test_an_application_without_tokens_may_become_another_one(declared, user):
    grant(make("other"), user)
    make(client_id="1")
    declared["ok"] = {"client_id": "512000000001", "scope": "A"}
    assert "  client_id: '1' -> '512000000001'\n" in run().out
    assert stored("ok")["client_secret"] == "STORED-SECRET"  # encrypted anew, and still readable
    assert run().out == ""


def test_a_new_secret_of_an_application_with_tokens_leaves_them_alone(declared, user):
    token = grant(make(), user)
    run()
    token = UserToken.objects.get(pk=token.pk)
    assert token.access_token.reveal() == "STORED-TOKEN"
    assert token.credentials.client_secret.reveal() == OK["client_secret"]


@pytest.mark.django_db(transaction=True)
def test_names_that_a_database_takes_for_equal_are_told(declared):
    declared["OK"] = {**OK, "client_id": "2"}
    if connection.vendor != "mysql":
        run()
        assert stored("OK")["client_id"] == "2"
    else:
        assert "differ only in case" in refused()
        assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_a_database_without_our_table_is_told():
    table = ProviderCredentials._meta.db_table
    ProviderCredentials._meta.db_table = "no_such_table"
    try:
        assert "migrations" in refused()
    finally:
        ProviderCredentials._meta.db_table = table


# --- lost keys -------------------------------------------------------------------------------------------


def test_secrets_whose_key_is_lost_are_replaced(settings):
    make()
    settings.SECRET_KEY = "another-secret-key-that-knows-nothing-of-the-first"
    assert run().out.startswith("update ok\n  client_secret: changed\n  client_key: changed\ncreate mailru")
    assert stored("ok")["client_secret"] == OK["client_secret"]
    assert run().out == ""


def test_a_lost_secret_that_is_not_declared_stays_lost(declared, settings):
    make()
    settings.SECRET_KEY = "another-secret-key-that-knows-nothing-of-the-first"
    declared["ok"] = {"client_id": "512000000000", "client_secret": "MARKER-NEW"}
    run()
    row = ProviderCredentials.objects.get(name="ok")
    assert row.client_secret.reveal() == "MARKER-NEW"
    with pytest.raises(DecryptionError):
        row.client_key.reveal()


def test_a_lost_secret_cannot_follow_the_application_to_a_new_client_id(declared, settings):
    make()
    before = rows()
    settings.SECRET_KEY = "another-secret-key-that-knows-nothing-of-the-first"
    declared["ok"] = {"client_id": "512000000001", "client_secret": "MARKER-NEW"}
    assert "ok.client_key: The stored value can't be decrypted" in refused()
    assert rows() == before


# --- pruning ---------------------------------------------------------------------------------------------


def test_pruning_deletes_what_the_setting_does_not_name_and_counts_the_tokens(user, django_user_model):
    run()
    old = make("old")
    kept = grant(ProviderCredentials.objects.get(name="ok"), user)
    grant(old, user)
    grant(old, django_user_model.objects.create(username="boris"), uid="2")
    assert run() == Said("", "Nothing to change.\n")
    said = run("--prune")
    assert said.out == "delete old\n  tokens: 2\n"
    assert said.err == "Created: 0, updated: 0, deleted: 1, with 2 token(s) of users.\n"
    assert [token.pk for token in UserToken.objects.all()] == [kept.pk]
    assert not ProviderCredentials.objects.filter(name="old").exists()


@pytest.mark.parametrize("arguments", [["--prune"], ["--prune", "--dry-run"]])
def test_a_forgotten_environment_deletes_nothing(settings, user, arguments):
    grant(make(), user)
    settings.SOCIALGRANTS_CREDENTIALS = {}
    assert "SOCIALGRANTS_CREDENTIALS is empty" in refused(*arguments)
    assert UserToken.objects.count() == 1


def test_without_pruning_an_empty_setting_means_nothing_to_do(settings):
    make()
    del settings.SOCIALGRANTS_CREDENTIALS
    assert run() == Said("", "Nothing to change.\n")


def test_a_failure_half_way_takes_everything_back(monkeypatch):
    make("old")
    before = rows()
    save = ProviderCredentials.save

    def fail_at_mailru(self, **options):
        assert self.name != "mailru"
        save(self, **options)

    monkeypatch.setattr(ProviderCredentials, "save", fail_at_mailru)
    with pytest.raises(AssertionError):
        sync(prune=True)
    assert rows() == before


# --- at once ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_several_servers_that_start_at_once_all_succeed():
    """Each runs the command when it is deployed; one of them is first."""
    barrier = threading.Barrier(8)
    outcomes = []

    def deploy():
        try:
            barrier.wait()
            outcomes.append(len(sync()))
        except BaseException:
            outcomes.append(repr(sys.exception()))
        finally:
            connection.close()

    threads = [threading.Thread(target=deploy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [0] * 7 + [2]
    assert ProviderCredentials.objects.filter(updated_at__lte=timezone.now()).count() == 2
