"""Accounts of every kind are imported or left out, each for its reason, and some imports are refused."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, connections
from django.test import modify_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_socialgrants.flows import importing
from django_socialgrants.flows.importing import Outcome, import_accounts
from django_socialgrants.models import ProviderCredentials, UserToken, UserTokenQuerySet
from tests.due import columns

from .rows import UID, account_there, counts, refused, rows_of, run, token_here, user

pytestmark = pytest.mark.usefixtures("configured")

both = pytest.mark.parametrize("package", ["allauth", "social_django"])


# --- refusals ----------------------------------------------------------------------------------------------------


@both
def test_another_application_is_refused(package):
    account_there(package, UID)
    ProviderCredentials.objects.filter(name="ok").update(name="another")
    ProviderCredentials.objects.create(name="ok", provider="ok", client_id="513")
    said = refused(package, "ok")
    assert "other people" in said
    assert "512000000000" in said
    assert "513" in said


@both
def test_an_application_that_is_not_said_is_refused(settings, package):
    del settings.SOCIALACCOUNT_PROVIDERS
    del settings.SOCIAL_AUTH_ODNOKLASSNIKI_OAUTH2_KEY
    assert "does not say which application" in refused(package, "ok")


@both
def test_the_wrong_network_is_refused(package):
    provider = {"allauth": "mailru", "social_django": "mailru-oauth2"}[package]
    assert "other people" in refused(package, "ok", "--provider", provider)


def test_an_unknown_application_is_refused():
    assert "'nobody'" in refused("allauth", "nobody")


@pytest.mark.parametrize(
    ("package", "app"), [("allauth", "allauth.socialaccount"), ("social_django", "social_django")]
)
def test_a_package_that_is_not_installed_is_named(package, app):
    gone = {
        "remove": [
            name for name in settings.INSTALLED_APPS if name.startswith((app, "allauth.socialaccount"))
        ]
    }
    with modify_settings(INSTALLED_APPS=gone):
        assert f"“{app}” is not in INSTALLED_APPS" in refused(package, "ok")


@pytest.mark.parametrize(
    ("package", "table", "column"),
    [
        ("allauth", "socialaccount_socialtoken", "token_secret"),
        ("social_django", "social_auth_usersocialauth", "extra_data"),
    ],
)
def test_a_table_without_the_columns_is_named(package, table, column):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO gone")
    try:
        said = refused(package, "ok")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME COLUMN gone TO {column}")
    assert table in said
    assert column in said


# --- rows of every kind ------------------------------------------------------------------------------------------


def skips(package, reason, pk):
    """The account is left out for that reason, with a line that says so, and the others are imported."""
    account_there(package, "4711", owner=user(7))
    code, document, said = run(package, "ok")
    assert (code, document["reasons"], document["imported"]) == (1, {reason: 1}, 1)
    assert said == f"account {pk}: skipped, {Outcome(reason).label}\n"
    assert UserToken.objects.filter(uid="4711").exists()


@both
def test_an_account_of_somebody_else_here_is_skipped(package):
    ours = token_here(user(1))
    skips(package, "taken", account_there(package, UID, owner=user(2)))
    ours.refresh_from_db()
    assert (ours.user, ours.access_token) == (user(1), "our-access-token")


@both
def test_nobody_is_linked_by_an_address(package):
    first, second = user(1), user(2)
    User.objects.update(email="same@example.com")
    token_here(first, "5")
    account_there(package, UID, owner=second, email="same@example.com")
    run(package, "ok")
    assert UserToken.objects.get(uid=UID).user == second


@both
@pytest.mark.parametrize("uid", ["x", "1" * 33, "12 ", "ivan@mail.ru", "١٢٣"])
def test_an_account_without_a_user_id_of_the_network_is_skipped(package, uid):
    skips(package, "no_uid", account_there(package, uid))


@both
@pytest.mark.parametrize("token", ["two\nlines", "ключ", "x" * 5000])
def test_an_account_with_a_token_that_the_network_can_t_have_given_is_skipped(package, token):
    skips(package, "malformed", account_there(package, UID, token=token))


@pytest.mark.parametrize("extra", ["", "{", "[]", '["access_token"]', '"text"', "null", "17"])
def test_details_that_are_no_json_object_are_broken(extra):
    pk = account_there("social_django", UID)
    table = rows_of("social_django").model._meta.db_table
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"UPDATE {table} SET extra_data = %s WHERE id = %s", [extra, pk])
        except DatabaseError:
            return  # this database keeps nothing that is no JSON
    if extra == "":
        assert counts(run("social_django", "ok")[1]) == {"accounts": 1, "imported": 1, "needs_login": 1}
    else:
        skips("social_django", "malformed", pk)


def test_an_account_whose_user_is_gone_is_skipped(monkeypatch):
    pk = account_there("allauth", UID, owner=user(1))
    real = User._base_manager.using("default")
    monkeypatch.setattr(importing, "get_user_model", lambda: Without(real.exclude(username="person-1")))
    skips("allauth", "no_user", pk)


class Without:
    """A user model whose manager does not find everybody, as where no constraint ties accounts to users."""

    def __init__(self, rows):
        self._base_manager = self
        self.using = lambda alias: rows


def test_accounts_of_a_second_application_there_are_skipped(settings):
    from allauth.socialaccount.models import SocialApp, SocialToken

    ours, other = (
        SocialApp.objects.create(provider="odnoklassniki", name=name, client_id=name)
        for name in ("512000000000", "513000000000")
    )
    settings.SOCIALACCOUNT_PROVIDERS = {}
    mine, theirs, untold = (account_there("allauth", str(number), owner=user(number)) for number in (1, 2, 3))
    SocialToken.objects.filter(account=mine).update(app=ours)
    SocialToken.objects.filter(account=theirs).update(app=other)
    SocialToken.objects.filter(account=untold).delete()
    code, document, said = run("allauth", "ok")
    assert (code, document["imported"], document["reasons"]) == (1, 1, {"foreign": 2})
    assert UserToken.objects.get().uid == "1"
    assert [line.split(":")[0] for line in said.splitlines()] == [f"account {theirs}", f"account {untold}"]


@both
def test_an_older_grant_replaces_nothing(package):
    ours = token_here(user())
    account_there(package, UID)
    before = columns()
    assert counts(run(package, "ok")[1]) == {"accounts": 1, "unchanged": 1}
    assert columns() == before
    UserToken.objects.filter(pk=ours.pk).update(
        created_at=timezone.now() - timedelta(days=9), refreshed_at=timezone.now() - timedelta(seconds=1)
    )
    assert counts(run(package, "ok")[1]) == {"accounts": 1, "unchanged": 1}


@both
def test_a_newer_grant_ends_the_need_to_log_in(package):
    long_ago = timezone.now() - timedelta(days=9)
    token_here(user(), state="needs_login", reason="invalid_grant", created_at=long_ago)
    account_there(package, UID)
    assert counts(run(package, "ok")[1]) == {"accounts": 1, "updated": 1}
    token = UserToken.objects.get()
    assert (token.state, token.reason, token.generation) == ("active", "", 1)
    assert (token.access_token, token.refresh_token) == ("their-access-token", "their-refresh-token")
    assert token.next_refresh_at is not None


def test_a_newer_login_without_a_token_takes_none_away():
    token_here(user(), created_at=timezone.now() - timedelta(days=9))
    account_there("allauth", UID, token="")
    assert counts(run("allauth", "ok")[1]) == {"accounts": 1, "unchanged": 1}
    assert UserToken.objects.get().access_token == "our-access-token"


def test_a_refresh_token_that_the_newer_grant_lacks_is_kept():
    token_here(user(), refresh_token="our-refresh-token", created_at=timezone.now() - timedelta(days=9))
    account_there("social_django", UID, refresh_token="")
    run("social_django", "ok")
    token = UserToken.objects.get()
    assert (token.access_token, token.refresh_token) == ("their-access-token", "our-refresh-token")


def test_a_token_that_changes_meanwhile_is_left_alone(monkeypatch):
    token_here(user(), created_at=timezone.now() - timedelta(days=9))
    account_there("allauth", UID)
    store = importing._Importer._store

    def late(importer, judged):
        UserToken.objects.update(generation=5)
        return store(importer, judged)

    monkeypatch.setattr(importing._Importer, "_store", late)
    assert counts(run("allauth", "ok")[1]) == {"accounts": 1, "unchanged": 1}
    assert UserToken.objects.get().access_token == "our-access-token"


def test_somebody_who_logs_in_meanwhile_costs_the_others_nothing(monkeypatch):
    for number in range(5):
        account_there("allauth", str(number), owner=user(number))
    store = importing._Importer._store

    def late(importer, judged):
        if not UserToken.objects.exists():
            token_here(user(2), "2")
        return store(importer, judged)

    monkeypatch.setattr(importing._Importer, "_store", late)
    code, document, _ = run("allauth", "ok")
    assert (code, counts(document)) == (0, {"accounts": 5, "imported": 4, "unchanged": 1})
    assert UserToken.objects.get(uid="2").access_token == "our-access-token"


def test_one_that_never_can_be_stored_is_skipped_alone(monkeypatch):
    for number in range(3):
        account_there("allauth", str(number), owner=user(number))
    create = UserTokenQuerySet.bulk_create

    def unlucky(rows, objs, *args, **kwargs):
        if any(token.uid == "1" for token in objs):
            raise IntegrityError
        return create(rows, objs, *args, **kwargs)

    monkeypatch.setattr(UserTokenQuerySet, "bulk_create", unlucky)
    code, document, _ = run("allauth", "ok")
    assert (code, document["imported"], document["reasons"]) == (1, 2, {"conflict": 1})


def test_a_dry_run_tells_the_same_and_changes_nothing():
    account_there("allauth", UID)
    account_there("allauth", "x", owner=user(1))
    code, document, _ = run("allauth", "ok", "--dry-run")
    assert (code, document["imported"], document["reasons"]) == (1, 1, {"no_uid": 1})
    assert document["dry_run"]
    assert not UserToken.objects.exists()


def test_an_import_that_was_stopped_is_finished_by_the_next_one(monkeypatch):
    monkeypatch.setattr(importing, "_PAGE", 2)
    for number in range(5):
        account_there("allauth", str(number), owner=user(number))
    seen = []
    report = import_accounts("allauth", "ok", watch=seen.append, stop=lambda: len(seen) > 2)
    assert (report.total, report.done) == (5, 4)
    report = import_accounts("allauth", "ok")
    assert report.outcomes == {Outcome.UNCHANGED: 4, Outcome.IMPORTED: 1}


def test_a_page_costs_the_same_whatever_is_in_it(monkeypatch):
    monkeypatch.setattr(importing, "_PAGE", 10)
    for number in range(20):
        account_there("allauth", str(number), owner=user(number))
    with CaptureQueriesContext(connection) as captured:
        import_accounts("allauth", "ok")
    pages = [query["sql"] for query in captured if "FROM" in query["sql"] and " LIMIT 10" in query["sql"]]
    assert len(pages) == 3
    assert not [sql for sql in pages if "OFFSET" in sql]
    assert len([query for query in captured if query["sql"].startswith("INSERT")]) == 2


def test_no_secret_is_printed():
    account_there("allauth", UID)
    account_there("allauth", "x", owner=user(1))
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit):
        call_command("import_accounts", "--from", "allauth", "--application", "ok", stdout=out, stderr=err)
    assert "their-" not in out.getvalue() + err.getvalue()
    assert "odnoklassniki into ok: 2 accounts, 1 imported" in out.getvalue()
    assert "no_uid: 1" in out.getvalue()
    assert "their-" not in str(columns())


@pytest.mark.parametrize(
    ("extra", "seconds"),
    [
        ({"expires_in": 100}, 100),
        ({"expires_in": "100"}, 100),
        ({"expires": 100}, 100),
        ({"expires": 2524608000}, None),
        ({"expires_on": 2524608000}, None),
        ({"expires_in": None}, 1800),
        ({"expires_in": "soon"}, 1800),
        ({"expires": -1}, 1800),
        ({"expires_on": []}, 1800),
        ({}, 1800),
    ],
)
def test_every_way_of_keeping_an_expiry_is_understood(extra, seconds):
    account_there("social_django", UID, **extra)
    run("social_django", "ok")
    token = UserToken.objects.get()
    if seconds is None:
        assert token.expires_at == datetime(2050, 1, 1, tzinfo=UTC)
    else:
        assert (token.expires_at - token.created_at).total_seconds() == seconds


@pytest.mark.parametrize("auth_time", [None, "then", -5, 2524608000, [], 10**12])
def test_a_time_that_can_t_be_is_replaced_by_when_the_row_was_saved(auth_time):
    account_there("social_django", UID, auth_time=auth_time)
    run("social_django", "ok")
    assert UserToken.objects.get().created_at == rows_of("social_django").get().modified


def mail_account(uid, owner, **extra):
    """An account at oauth.mail.ru, which python-social-auth has long known by its e-mail address."""
    from social_django.models import UserSocialAuth

    data = {"access_token": "their-access-token", "expires_in": 3600} | extra
    return UserSocialAuth.objects.create(user=owner, provider="mailru", uid=uid, extra_data=data).pk


def test_an_account_at_oauth_mail_is_known_by_its_id_alone():
    mail_account("ivan@mail.ru", user(1), id="1734604429")
    unknown = mail_account("maria@mail.ru", user(2), email="maria@mail.ru")
    mail_account("1734000202", user(3), email="prokhor@mail.ru")
    other = mail_account("other@mail.ru", user(4), id="1734000202")
    code, document, said = run("social_django", "mailid")
    assert (code, document["imported"], document["reasons"]) == (1, 2, {"no_uid": 1, "taken": 1})
    assert [line.split(":")[0] for line in said.splitlines()] == [f"account {unknown}", f"account {other}"]
    owners = {token.uid: token.user for token in UserToken.objects.all()}
    assert owners == {"1734604429": user(1), "1734000202": user(3)}


def test_a_refresh_token_without_its_device_is_left_behind():
    from allauth.socialaccount.models import SocialAccount, SocialToken

    row = SocialAccount.objects.create(user=user(), provider="vk", uid="1000000101")
    SocialToken.objects.create(account=row, token="their-access-token", token_secret="their-refresh-token")
    assert run("allauth", "vkid")[0] == 0
    token = UserToken.objects.get()
    assert (token.access_token, token.refresh_token) == ("their-access-token", "")
    assert token.next_refresh_at is None


@pytest.mark.django_db(transaction=True, databases=["default", "second"])
def test_tokens_are_stored_where_the_router_says(settings):
    account_there("allauth", UID)
    settings.DATABASE_ROUTERS = ["tests.test_two_databases.Elsewhere"]
    with (
        CaptureQueriesContext(connections["default"]) as there,
        CaptureQueriesContext(connections["second"]) as here,
    ):
        import_accounts("allauth", "ok")
    assert not [query["sql"] for query in there if "socialgrants_" in query["sql"]]
    assert not [query["sql"] for query in here if "socialaccount_" in query["sql"]]
    assert [query["sql"] for query in here if query["sql"].startswith("INSERT")]
    assert UserToken.objects.get().uid == UID
