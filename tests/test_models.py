"""What is kept of applications and tokens: rules of the rows, their schedule, fixtures and migrations."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.serializers.base import DeserializationError
from django.db import IntegrityError, connection
from django.db.transaction import atomic
from django.utils import timezone

from django_socialgrants.exceptions import DecryptionError, UnknownCredentials, UnknownProvider
from django_socialgrants.models import ProviderCredentials, UsedState, UserToken
from django_socialgrants.oauth.values import Identity, Secret, Token

pytestmark = pytest.mark.database

SECRETS = ["access_token", "refresh_token", "session_secret"]
TICK = timedelta(milliseconds=-1)
"""SQLite keeps no less of the time."""
LATER = datetime(2050, 1, 1, tzinfo=UTC)
IDENTITY = Identity(
    "1", name="Anna A", first_name="Anna", last_name="A", email="a@example.com", profile={"age": 7}
)


@pytest.fixture
def user(django_user_model, db):
    return django_user_model.objects.create_user("anna")


@pytest.fixture
def new_token(user, ok_app):
    def make(**changes):
        values = {"user": user, "credentials": ok_app, "uid": "1", "grant_type": "authorization_code"}
        return UserToken(**values | {"access_token": "the access token"} | changes)

    return make


def create(token):
    fields = {field.name: getattr(token, field.name) for field in token._meta.fields if not field.primary_key}
    return UserToken.objects.create(**fields)


def save(token):
    token.save()
    return token


def bulk_create(token):
    [created] = UserToken.objects.bulk_create([token])
    return created


def upsert(token):
    row, _ = UserToken.objects.update_or_create(
        credentials=token.credentials,
        uid=token.uid,
        create_defaults={"user": token.user, "access_token": "before"},
        defaults={},
    )
    fields = ["access_token", "refresh_token", "scope", "state", "expires_at", "next_refresh_at"]
    defaults = {name: getattr(token, name) for name in fields if getattr(token, name)}
    row, created = UserToken.objects.update_or_create(pk=row.pk, defaults=defaults)
    assert not created
    return row


EVERY_WAY = pytest.mark.parametrize("keep", [save, create, bulk_create, upsert])


def schedule(token):
    """When it expires and when it is to be refreshed: what the row says, which is what memory says."""
    row = UserToken.objects.get(uid=token.uid)
    assert (row.expires_at, row.next_refresh_at) == (token.expires_at, token.next_refresh_at)
    return row.expires_at, row.next_refresh_at


# --- applications ----------------------------------------------------------------------------------------


def test_an_application_is_found_by_its_name(ok_app, mailru_app):
    assert ProviderCredentials.objects.named("mailru") == mailru_app
    assert ProviderCredentials.objects.filter(provider="ok").named("ok") == ok_app


@pytest.mark.parametrize("name", ["no_such", "", "OK2", "o k"])
def test_an_unknown_name_is_named_in_the_error(ok_app, name):
    with pytest.raises(UnknownCredentials) as caught:
        ProviderCredentials.objects.named(name)
    assert repr(name) in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.django_db
def test_several_applications_of_one_network_are_normal():
    for name in ("one", "two"):
        ProviderCredentials.objects.create(name=name, provider="ok", client_id="7")
    with pytest.raises(IntegrityError), atomic():
        ProviderCredentials.objects.create(name="one", provider="mailru", client_id="8")


def test_an_application_whose_network_is_gone_is_kept_but_not_usable(ok_app, mailru_app, settings):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    assert ProviderCredentials.objects.usable() == [mailru_app]
    assert set(ProviderCredentials.objects.all()) == {ok_app, mailru_app}
    with pytest.raises(UnknownProvider, match="mailru"):
        ok_app.get_provider()
    ok_app.scope = "VALUABLE_ACCESS"
    ok_app.save()
    assert ProviderCredentials.objects.named("ok").client_secret.reveal() == "ok-client-secret"


def test_credentials_as_a_value_are_those_of_the_row(ok_app):
    value = ProviderCredentials.objects.get().to_value()
    assert value.client_id == "512000000000"
    assert value.client_secret == "ok-client-secret"
    assert value.client_key == "CGEXAMPLEKEYBABABA"


def test_valid_rows_are_clean(ok_app, new_token):
    ok_app.full_clean()
    ProviderCredentials.objects.get().full_clean()
    ProviderCredentials(name="bare", provider="mailru", client_id="7").full_clean()
    new_token().full_clean()
    token = new_token(refresh_token="r", session_secret="s")
    token.save()
    UserToken.objects.get().full_clean()
    assert token.access_token.reveal() == "the access token"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"provider": "okru"}, "provider"),
        ({"provider": ""}, "provider"),
        ({"name": "not a slug"}, "name"),
        ({"name": "ok"}, "name"),
        ({"client_id": ""}, "client_id"),
    ],
)
def test_invalid_credentials_are_told_by_their_field(ok_app, changes, field):
    values = {"name": "other", "provider": "ok", "client_id": "7"} | changes
    with pytest.raises(ValidationError) as caught:
        ProviderCredentials(**values).full_clean()
    assert set(caught.value.message_dict) == {field}


def test_a_token_without_an_access_token_is_not_clean(new_token):
    with pytest.raises(ValidationError) as caught:
        new_token(access_token="").full_clean()
    assert set(caught.value.message_dict) == {"access_token"}


# --- tokens ----------------------------------------------------------------------------------------------


def test_one_identity_of_one_application_has_one_row(new_token, mailru_app, django_user_model):
    new_token().save()
    new_token(uid="2").save()
    new_token(credentials=mailru_app).save()
    with pytest.raises(IntegrityError), atomic():
        new_token(user=django_user_model.objects.create_user("boris")).save()
    with pytest.raises(ValidationError):
        new_token().full_clean()
    assert UserToken.objects.count() == 3


def test_a_token_as_a_value_is_that_of_the_row(new_token):
    new_token(refresh_token="r", session_secret="s", scope="A B", token_type="session").save()
    value = UserToken.objects.get().to_value()
    assert value.access_token == "the access token"
    assert (value.refresh_token, value.session_secret) == (Secret("r"), Secret("s"))
    assert (value.uid, value.scope, value.token_type) == ("1", "A B", "session")


def test_texts_of_rows_show_no_secret(new_token, ok_app):
    token = new_token(refresh_token="the refresh token")
    assert str(token) == f"{ok_app.pk}:1"
    assert str(ok_app) == "ok"
    assert "the " not in f"{token!r} {token.to_value()!r} {ok_app!r} {ok_app.to_value()!r}"


def test_a_network_is_called_what_people_call_it(new_token, settings):
    assert new_token().network == "OK"
    settings.SOCIALGRANTS_PROVIDERS = []
    assert new_token().network == "ok"


@EVERY_WAY
def test_a_refreshable_token_is_refreshed_shortly_before_it_expires(new_token, keep, settings):
    settings.SOCIALGRANTS_REFRESH_BEFORE = 300
    token = keep(new_token(refresh_token="r", expires_at=LATER))
    assert schedule(token) == (LATER, LATER - timedelta(seconds=300))


@EVERY_WAY
@pytest.mark.parametrize(("application", "life"), [("ok_app", 1800), ("mailru_app", 86400)])
def test_a_refreshable_token_always_expires_some_time(request, new_token, keep, application, life):
    now = timezone.now()
    token = keep(new_token(credentials=request.getfixturevalue(application), refresh_token="r"))
    expires_at, next_refresh_at = schedule(token)
    assert TICK <= expires_at - now - timedelta(seconds=life) <= timezone.now() - now
    assert next_refresh_at == expires_at - timedelta(seconds=120)


@EVERY_WAY
def test_a_long_token_of_ok_is_kept_alive(new_token, keep):
    token = keep(new_token(scope="VALUABLE_ACCESS LONG_ACCESS_TOKEN", expires_at=LATER))
    assert schedule(token) == (LATER, LATER - timedelta(seconds=120))


@EVERY_WAY
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expires_at": LATER},
        {"expires_at": LATER, "scope": "VALUABLE_ACCESS NOT_A_LONG_ACCESS_TOKEN"},
        {"refresh_token": "r", "state": "needs_login"},
        {"refresh_token": "r", "state": "needs_login", "expires_at": LATER},
    ],
)
def test_a_token_that_nothing_can_be_done_for_is_never_due(new_token, keep, changes):
    token = keep(new_token(**changes))
    assert schedule(token) == (changes.get("expires_at"), None)


def test_only_ok_knows_long_tokens(new_token, mailru_app):
    token = save(new_token(credentials=mailru_app, scope="LONG_ACCESS_TOKEN", expires_at=LATER))
    assert schedule(token) == (LATER, None)


@EVERY_WAY
def test_a_time_that_is_set_stays(new_token, keep):
    token = keep(new_token(refresh_token="r", expires_at=LATER, next_refresh_at=LATER + timedelta(days=1)))
    assert schedule(token) == (LATER, LATER + timedelta(days=1))


def test_a_token_that_becomes_refreshable_is_scheduled(new_token):
    token = save(new_token(expires_at=LATER))
    token.refresh_token = "r"
    token.save(update_fields=["refresh_token"])
    assert schedule(token) == (LATER, LATER - timedelta(seconds=120))


def test_saving_other_fields_alone_writes_no_other_field(new_token):
    token = save(new_token(refresh_token="r", expires_at=LATER))
    UserToken.objects.update(next_refresh_at=LATER + timedelta(days=1), refresh_token="")
    token.profile = {"name": "Anna"}
    token.save(update_fields=["profile"])
    row = UserToken.objects.get()
    assert row.next_refresh_at == LATER + timedelta(days=1)
    assert not row.refresh_token
    assert row.profile == {"name": "Anna"}


# --- taking a new grant ----------------------------------------------------------------------------------


@pytest.fixture
def dead_token(new_token):
    return save(
        new_token(
            refresh_token="old refresh",
            session_secret="old secret",
            scope="OLD",
            expires_at=LATER,
            refresh_expires_at=LATER,
            state="needs_login",
            reason="invalid_grant",
            failures=3,
            lease_owner="somebody",
            lease_until=LATER,
            refreshed_at=LATER,
            profile={"nick": "old"},
        )
    )


def taken(row, token, grant_type="authorization_code"):
    """The row as the database has it after taking `token`."""
    changes = row.sealed(row.changes_by_grant(token, IDENTITY, grant_type=grant_type))
    assert UserToken.objects.filter(pk=row.pk).update(**changes) == 1
    return UserToken.objects.get(pk=row.pk)


def test_a_new_grant_replaces_whatever_the_row_held(dead_token):
    now = timezone.now()
    granted = Token("new access", "new refresh", 600, "1", "new secret", "NEW LONG_ACCESS_TOKEN", "session")
    row = taken(dead_token, granted, "implicit")
    assert [getattr(row, name).reveal() for name in SECRETS] == ["new access", "new refresh", "new secret"]
    assert (row.grant_type, row.scope, row.token_type) == ("implicit", "NEW LONG_ACCESS_TOKEN", "session")
    assert (row.state, row.reason, row.failures) == ("active", "", 0)
    assert (row.lease_owner, row.lease_until, row.refreshed_at) == ("", None, None)
    assert TICK <= row.created_at - now <= timezone.now() - now
    assert row.expires_at == row.created_at + timedelta(seconds=600)
    assert row.next_refresh_at == row.created_at + timedelta(seconds=540)
    assert row.refresh_expires_at == row.created_at + timedelta(days=30)
    assert row.profile == {
        "age": 7,
        "name": "Anna A",
        "first_name": "Anna",
        "last_name": "A",
        "email": "a@example.com",
    }


def test_changes_are_nobodys_before_they_are_applied(dead_token):
    before = UserToken.objects.values().get()
    changes = dead_token.changes_by_grant(Token("new access"), IDENTITY, grant_type="implicit")
    assert (dead_token.access_token.reveal(), dead_token.state) == ("the access token", "needs_login")
    dead_token.apply(changes)
    assert (dead_token.access_token.reveal(), dead_token.state) == ("new access", "active")
    assert UserToken.objects.values().get() == before


def test_a_grant_without_a_refresh_token_keeps_the_one_that_is_stored(dead_token):
    row = taken(dead_token, Token("new access", expires_in=600))
    assert row.refresh_token.reveal() == "old refresh"
    assert row.refresh_expires_at == LATER
    assert row.next_refresh_at == row.created_at + timedelta(seconds=540)
    assert not row.session_secret


def test_a_grant_that_names_no_scope_claims_none_of_its_own_accord(dead_token):
    """What was asked for is known to the flow that asked."""
    assert taken(dead_token, Token("new access")).scope == ""


@pytest.mark.parametrize(("application", "life"), [("ok_app", 1800), ("mailru_app", 86400)])
def test_a_grant_that_names_no_life_lives_as_the_network_has_it(request, new_token, application, life):
    row = taken(save(new_token(credentials=request.getfixturevalue(application))), Token("new access"))
    assert row.expires_at == row.created_at + timedelta(seconds=life)
    assert row.next_refresh_at is None


def test_a_network_that_names_no_life_of_refresh_tokens_gives_them_no_end(new_token, mailru_app):
    row = taken(save(new_token(credentials=mailru_app, refresh_expires_at=LATER)), Token("a", "r"))
    assert row.refresh_token.reveal() == "r"
    assert row.refresh_expires_at is None


def test_texts_of_a_network_that_are_too_long_are_cut(new_token):
    row = taken(save(new_token()), Token("a", scope="s" * 2000, token_type="t" * 100))
    assert (row.scope, row.token_type) == ("s" * 1000, "t" * 64)


def test_sealed_changes_are_what_update_takes(dead_token):
    changes = dead_token.sealed({"access_token": "another access", "failures": 9})
    assert set(changes) == {"access_token", "failures"}
    UserToken.objects.filter(pk=dead_token.pk).update(**changes)
    row = UserToken.objects.get()
    assert (row.access_token.reveal(), row.failures, row.state) == ("another access", 9, "needs_login")


# --- fixtures --------------------------------------------------------------------------------------------


def dumped(**options):
    out = io.StringIO()
    call_command("dumpdata", "socialgrants", stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize("format", ["json", "jsonl", "xml"])
def test_dumpdata_shows_no_secret_and_loaddata_brings_everything_back(new_token, tmp_path, format):
    save(new_token(refresh_token="the refresh token", profile={"name": "Анна"}, expires_at=LATER))
    UsedState.objects.create(digest="d" * 64, used_at=LATER)
    UserToken.objects.update(created_at=LATER)  # whole seconds: JSON drops part of the others
    ProviderCredentials.objects.update(created_at=LATER, updated_at=LATER)
    dump = dumped(format=format)
    assert not [secret for secret in ("the access", "the refresh", "ok-client", "CGEX") if secret in dump]

    file = tmp_path / f"dump.{format}"
    file.write_text(dump)
    for existing in (UserToken.objects.none(), UserToken.objects.all(), ProviderCredentials.objects.all()):
        existing.delete()
        call_command("loaddata", str(file), verbosity=0)
        assert dumped(format=format) == dump
        row = UserToken.objects.get()
        assert [getattr(row, name).reveal() for name in SECRETS] == [
            "the access token",
            "the refresh token",
            "",
        ]
        assert row.credentials.client_secret.reveal() == "ok-client-secret"


def test_a_dump_of_another_row_is_unreadable_there(new_token, tmp_path):
    save(new_token())
    data = json.loads(dumped())
    for item in data:
        item["fields"].update({"uid": "2"} if "uid" in item["fields"] else {})
    (tmp_path / "dump.json").write_text(json.dumps(data))
    call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0)
    with pytest.raises(DecryptionError, match="moved here from another place"):
        UserToken.objects.get(uid="2").access_token.reveal()


def test_a_fixture_with_a_secret_in_clear_is_refused(ok_app, tmp_path):
    data = json.loads(dumped())
    data[0]["fields"]["client_secret"] = "in clear"
    (tmp_path / "dump.json").write_text(json.dumps(data))
    with pytest.raises((ValueError, DeserializationError), match="encrypted column"):
        call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0)
    assert ProviderCredentials.objects.get().client_secret.reveal() == "ok-client-secret"


# --- migrations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "providers",
    [
        ["django_socialgrants.providers.ok.OK", "django_socialgrants.providers.mailru.MailRu"],
        ["tests.fakes.FakeMailRu"],
        ["no.such.module.OK"],
        [],
    ],
)
@pytest.mark.django_db
def test_no_migration_is_missing_whatever_networks_a_site_has(settings, providers):
    settings.SOCIALGRANTS_PROVIDERS = providers
    call_command("makemigrations", "socialgrants", check=True, dry_run=True, skip_checks=True, verbosity=0)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_migrations_go_backwards_and_forwards_again():
    def tables():
        return {
            table for table in connection.introspection.table_names() if table.startswith("socialgrants_")
        }

    ours = {model._meta.db_table for model in (ProviderCredentials, UserToken, UsedState)}
    before = tables()
    assert ours <= before
    try:
        call_command("migrate", "socialgrants", "zero", verbosity=0)
        assert not tables() & ours
    finally:
        call_command("migrate", verbosity=0)
    assert tables() == before
    ProviderCredentials.objects.create(name="ok", provider="ok", client_id="7", client_secret="s")


def test_many_tokens_are_stored_with_a_query_for_their_application(
    new_token, ok_app, django_assert_num_queries
):
    tokens = [
        new_token(credentials=None, credentials_id=ok_app.pk, uid=str(number), refresh_token="refresh")
        for number in range(20)
    ]
    with django_assert_num_queries(3):  # the time is the third
        UserToken.objects.bulk_create(tokens)
    assert all(token.next_refresh_at for token in UserToken.objects.all())
