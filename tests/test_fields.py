"""Encrypted columns: what is read, written, asked for and kept."""

import copy
import json
import pickle

import pytest
from django.core.cache import cache
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import F, Q, Value
from django.db.models.functions import Concat
from django.db.transaction import atomic

from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import MASK, Secret

pytestmark = pytest.mark.database

SECRETS = ["access_token", "refresh_token", "session_secret"]
TOKENS = "socialgrants_usertoken"
APPLICATIONS = "socialgrants_providercredentials"


@pytest.fixture
def user(django_user_model, db):
    return django_user_model.objects.create_user("anna")


@pytest.fixture
def new_token(user, ok_app):
    def make(**changes):
        values = {"user": user, "credentials": ok_app, "uid": "1", "grant_type": "authorization_code"}
        return UserToken(**values | {name: f"the {name}" for name in SECRETS} | changes)

    return make


@pytest.fixture
def token(new_token):
    row = new_token()
    row.save()
    return row


def field(name):
    return UserToken._meta.get_field(name)


def stored(row, column):
    """What is in the column, without any help of the field."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {row._meta.db_table} WHERE id = %s", [row.pk])
        return cursor.fetchone()[0]


def store(row, column, value):
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {row._meta.db_table} SET {column} = %s WHERE id = %s", [value, row.pk])


def reread(row):
    return type(row).objects.get(pk=row.pk)


def whole_tables():
    """Every value of every table, as text."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            yield from (str(value) for line in cursor.fetchall() for value in line)


def assert_unreadable(secret):
    with pytest.raises(DecryptionError) as caught:
        secret.reveal()
    assert caught.value.key_known


# --- reading and writing ---------------------------------------------------------------------------------


def create(new):
    new.save()


def bulk_create(new):
    UserToken.objects.bulk_create([new])


def get_or_create(new):
    UserToken.objects.get_or_create(
        credentials=new.credentials,
        uid=new.uid,
        defaults={"user": new.user} | {name: getattr(new, name) for name in SECRETS},
    )


def update_or_create(new):
    UserToken.objects.update_or_create(
        credentials=new.credentials,
        uid=new.uid,
        defaults={name: getattr(new, name) for name in SECRETS},
        create_defaults={"user": new.user} | {name: getattr(new, name) for name in SECRETS},
    )


def update_after_create(new):
    UserToken.objects.create(user=new.user, credentials=new.credentials, uid=new.uid, access_token="before")
    update_or_create(new)


def upsert(new):
    UserToken.objects.create(user=new.user, credentials=new.credentials, uid=new.uid, access_token="before")
    options = {} if "mysql" in connection.vendor else {"unique_fields": ["credentials", "uid"]}
    UserToken.objects.bulk_create([new], update_conflicts=True, update_fields=SECRETS, **options)


@pytest.mark.parametrize("kind", [str, Secret])
@pytest.mark.parametrize(
    "write", [create, bulk_create, get_or_create, update_or_create, update_after_create, upsert]
)
def test_every_way_of_saving_takes_texts_and_secrets_and_encrypts_them(new_token, write, kind):
    new = new_token(
        access_token=kind("the access"), refresh_token=kind("the refresh"), session_secret=kind("")
    )
    write(new)
    row = UserToken.objects.get(uid="1")
    assert all(isinstance(getattr(row, name), Secret) for name in SECRETS)
    assert [getattr(row, name).reveal() for name in SECRETS] == ["the access", "the refresh", ""]
    assert stored(row, "session_secret") == ""
    assert not [value for value in whole_tables() if "the access" in value or "the refresh" in value]


@pytest.mark.parametrize("value", ["assigned", Secret("assigned")])
def test_an_assigned_secret_is_encrypted_by_save(token, value):
    token.access_token = value
    assert token.access_token.reveal() == "assigned"
    token.save()
    assert token.access_token.reveal() == reread(token).access_token.reveal() == "assigned"
    assert "assigned" not in stored(token, "access_token")


@pytest.mark.parametrize("value", ["", None, Secret()])
def test_nothing_can_be_assigned_too(token, value):
    token.refresh_token = value
    token.save()
    assert not token.refresh_token
    assert not reread(token).refresh_token
    assert stored(token, "refresh_token") == ""


@pytest.mark.parametrize("value", [7, b"bytes", ["list"]])
def test_only_texts_can_be_assigned(token, value):
    with pytest.raises(TypeError):
        token.access_token = value


def test_a_text_that_looks_like_a_ciphertext_is_a_text(token):
    token.refresh_token = stored(token, "access_token")
    token.save()
    assert reread(token).refresh_token.reveal() == stored(token, "access_token")


def test_an_attribute_shows_itself_masked(token, new_token):
    for row in (token, reread(token), new_token(uid="2")):
        assert str(row.access_token) == MASK
        assert "the access_token" not in f"{row!r} {row} {row.access_token!r} {row.__dict__}"
        assert row.access_token == "the access_token"
        assert row.access_token == Secret("the access_token")
        assert row.access_token != "another"


def test_secrets_of_credentials_are_kept_alike(ok_app):
    row = reread(ok_app)
    assert row.client_secret.reveal() == "ok-client-secret"
    assert row.client_key.reveal() == "CGEXAMPLEKEYBABABA"
    assert not [value for value in whole_tables() if "ok-client-secret" in value or "CGEXAMPLE" in value]


def test_nothing_is_decrypted_before_it_is_revealed(token, settings):
    settings.SECRET_KEY = "another secret key, with which nothing can be read"
    row = reread(token)
    assert row.access_token
    assert str(row.access_token) == MASK
    row.full_clean()
    with pytest.raises(DecryptionError) as caught:
        row.access_token.reveal()
    assert not caught.value.key_known


@pytest.mark.parametrize("plain", ["a plain token", "v1.00000000.AAAA"])
def test_plain_text_in_the_database_is_not_accepted(token, plain):
    store(token, "access_token", plain)
    with pytest.raises(DecryptionError):
        reread(token).access_token.reveal()


# --- bound to a place ------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", SECRETS)
def test_a_ciphertext_is_unreadable_in_another_column(token, column):
    for other in SECRETS:
        if other != column:
            store(token, other, stored(token, column))
            assert_unreadable(getattr(reread(token), other))


def test_a_ciphertext_is_unreadable_in_another_row(token, new_token, ok_app):
    same_application = new_token(uid="2")
    other_application = ProviderCredentials.objects.create(name="ok2", provider="ok", client_id="2")
    same_uid = new_token(credentials=other_application)
    for other in (same_application, same_uid):
        other.save()
        store(other, "access_token", stored(token, "access_token"))
        assert_unreadable(reread(other).access_token)


@pytest.mark.parametrize("changes", [{"provider": "mailru"}, {"client_id": "1"}])
def test_a_ciphertext_is_unreadable_for_another_application(ok_app, changes):
    other = ProviderCredentials.objects.create(
        **{"name": "other", "provider": "ok", "client_id": ok_app.client_id, "client_secret": "x"} | changes
    )
    store(other, "client_secret", stored(ok_app, "client_secret"))
    assert_unreadable(reread(other).client_secret)


def test_a_ciphertext_is_unreadable_in_another_table(token, ok_app):
    store(token, "access_token", stored(ok_app, "client_secret"))
    assert_unreadable(reread(token).access_token)


@pytest.mark.parametrize("between", ["", " ", ".", ":", "|", '", "', "\t"])
@pytest.mark.django_db
def test_places_that_look_alike_when_joined_are_not_mixed_up(between):
    one = ProviderCredentials.objects.create(
        name="a", provider="o", client_id=f"k{between}1", client_secret="s"
    )
    store(one, "provider", f"o{between}k")
    store(one, "client_id", "1")
    assert_unreadable(reread(one).client_secret)


def moved_credentials(row):
    row.provider, row.client_id = "mailru", "423004"


def moved_token(row):
    row.credentials = ProviderCredentials.objects.create(name="ok2", provider="ok", client_id="2")


def renamed_token(row):
    row.uid = "2"


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("move", [moved_token, renamed_token])
def test_saving_a_token_in_another_place_encrypts_it_again(token, move, loaded):
    row, before = reread(token) if loaded else token, stored(token, "access_token")
    move(row)
    assert row.access_token.reveal() == "the access_token"
    row.save()
    assert stored(token, "access_token") != before
    assert [getattr(reread(token), name).reveal() for name in SECRETS] == [f"the {name}" for name in SECRETS]


@pytest.mark.parametrize("loaded", [False, True])
def test_saving_credentials_of_another_application_encrypts_them_again(ok_app, loaded):
    row = reread(ok_app) if loaded else ok_app
    moved_credentials(row)
    row.save()
    assert reread(ok_app).client_secret.reveal() == "ok-client-secret"
    assert reread(ok_app).client_key.reveal() == "CGEXAMPLEKEYBABABA"


def test_saving_only_what_a_secret_is_bound_to_encrypts_it_again(ok_app):
    ok_app.client_id = "7"
    ok_app.save(update_fields=["client_id"])
    assert reread(ok_app).client_secret.reveal() == "ok-client-secret"


@pytest.mark.parametrize("leave_out", ["client_secret", "client_key"])
def test_a_secret_that_was_not_loaded_moves_along(ok_app, leave_out):
    row = ProviderCredentials.objects.defer(leave_out).get()
    row.client_id = "7"
    row.save()
    assert reread(ok_app).client_secret.reveal() == "ok-client-secret"
    assert reread(ok_app).client_key.reveal() == "CGEXAMPLEKEYBABABA"


def test_update_or_create_moves_secrets_along(ok_app):
    ProviderCredentials.objects.update_or_create(name="ok", defaults={"client_id": "7"})
    assert reread(ok_app).client_secret.reveal() == "ok-client-secret"


def test_a_copy_of_a_row_gets_ciphertexts_of_its_own(token):
    twin = copy.copy(token)
    twin.pk, twin.uid = None, "2"
    twin._state.adding = True
    twin.save(force_insert=True)
    assert reread(twin).access_token.reveal() == reread(token).access_token.reveal() == "the access_token"


def test_saving_an_unchanged_row_keeps_its_ciphertexts(token):
    before = [stored(token, name) for name in SECRETS]
    token.save()
    reread(token).save()
    assert [stored(token, name) for name in SECRETS] == before


# --- queries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["plain", Secret("plain")])
def test_update_refuses_what_was_not_encrypted_and_says_why(token, value):
    before = stored(token, "access_token")
    with (
        pytest.raises(ValueError, match=r"access_token is an encrypted column.*seal\(\)") as caught,
        atomic(),
    ):
        UserToken.objects.filter(pk=token.pk).update(access_token=value)
    assert "plain" not in str(caught.value)
    assert stored(token, "access_token") == before


@pytest.mark.parametrize("value", ["sealed", Secret("sealed")])
def test_update_takes_what_was_sealed_for_the_row(token, value):
    sealed = field("access_token").seal(token, value)
    assert UserToken.objects.filter(pk=token.pk).update(access_token=sealed) == 1
    assert reread(token).access_token.reveal() == "sealed"


def test_update_refuses_what_was_sealed_for_another_column(token, ok_app):
    for secret in (token.refresh_token, ok_app.client_secret):
        with pytest.raises(ValueError, match="access_token"), atomic():
            UserToken.objects.filter(pk=token.pk).update(access_token=secret)
    assert reread(token).access_token.reveal() == "the access_token"


@pytest.mark.parametrize(
    "value", [Value("plain"), Concat(Value("pl"), Value("ain")), F("uid"), F("refresh_token")]
)
def test_update_refuses_what_the_database_would_write_unencrypted_or_misplaced(token, value):
    with pytest.raises(ValueError, match="access_token"), atomic():
        UserToken.objects.filter(pk=token.pk).update(access_token=value)
    assert reread(token).access_token.reveal() == "the access_token"


@pytest.mark.parametrize("value", ["", Secret()])
def test_update_can_empty_a_column(token, value):
    UserToken.objects.update(refresh_token=value)
    assert not reread(token).refresh_token
    assert stored(token, "refresh_token") == ""


@pytest.mark.parametrize("value", ["plain", Secret("plain")])
def test_bulk_update_refuses_what_was_not_encrypted(token, value):
    token.access_token = value
    with pytest.raises(ValueError, match="encrypted column"), atomic():
        UserToken.objects.bulk_update([token], ["access_token"])
    assert reread(token).access_token.reveal() == "the access_token"


def test_bulk_update_takes_what_was_sealed_for_each_row(token, new_token):
    other = new_token(uid="2")
    other.save()
    for row in (token, other):
        row.access_token = field("access_token").seal(row, f"sealed {row.uid}")
        row.session_secret = ""
    UserToken.objects.bulk_update([token, other], ["access_token", "session_secret"])
    assert reread(token).access_token.reveal() == "sealed 1"
    assert reread(other).access_token.reveal() == "sealed 2"
    assert not reread(other).session_secret


@pytest.mark.parametrize("value", ["the access_token", Secret("the access_token")])
def test_nobody_can_ask_for_a_secret(token, value):
    for query in (Q(access_token=value), ~Q(access_token=value), Q(credentials__client_secret=value)):
        with pytest.raises(ValueError, match="encrypted column"):
            UserToken.objects.filter(query).exists()


@pytest.mark.parametrize("lookup", ["in", "contains", "icontains", "startswith", "iexact", "gt", "regex"])
def test_other_ways_to_ask_for_a_secret_do_not_exist(token, lookup):
    with pytest.raises(FieldError):
        UserToken.objects.filter(**{f"access_token__{lookup}": "the access_token"}).exists()


def test_emptiness_can_be_asked_for(token, new_token):
    empty = new_token(uid="2", refresh_token="")
    empty.save()
    assert UserToken.objects.get(refresh_token="") == empty
    assert UserToken.objects.exclude(refresh_token="").get() == token
    assert UserToken.objects.get(refresh_token=Secret()) == empty
    assert not UserToken.objects.filter(refresh_token__isnull=True).exists()


@pytest.mark.parametrize("rows", ["only", "defer", "only_secret", "related"])
def test_secrets_are_readable_however_the_row_was_loaded(token, rows):
    querysets = {
        "only": UserToken.objects.only("user"),
        "defer": UserToken.objects.defer("access_token", "uid"),
        "only_secret": UserToken.objects.only("access_token"),
        "related": UserToken.objects.select_related("credentials", "user"),
    }
    row = querysets[rows].get()
    assert row.access_token.reveal() == "the access_token"
    assert row.credentials.client_secret.reveal() == "ok-client-secret"


def test_a_secret_that_was_not_loaded_is_read_from_where_the_row_still_is(token):
    row = UserToken.objects.defer("access_token").get()
    row.uid = "2"
    assert row.access_token.reveal() == "the access_token"
    row.save()
    assert reread(token).access_token.reveal() == "the access_token"


@pytest.mark.parametrize("fields", [None, ["access_token"]])
def test_a_refreshed_row_shows_what_is_stored_now(token, fields):
    row = reread(token)
    token.access_token = "renewed"
    token.save()
    row.access_token = "never saved"
    row.refresh_from_db(fields=fields)
    assert row.access_token.reveal() == "renewed"


def test_values_are_ciphertexts(token):
    ciphertext = stored(token, "access_token")
    assert UserToken.objects.values("access_token").get() == {"access_token": ciphertext}
    assert UserToken.objects.values_list("access_token", flat=True).get() == ciphertext
    assert UserToken.objects.annotate(shown=F("access_token")).get().shown == ciphertext
    assert "the access_token" not in ciphertext


# --- pickles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [[], ["session_secret"], ["refresh_token", "session_secret"]])
def test_a_saved_row_survives_pickling_without_showing_a_secret(new_token, empty):
    token = new_token(**dict.fromkeys(empty, ""))
    token.save()
    for row in (token, reread(token)):
        pickled = pickle.dumps(row)
        again = pickle.loads(pickled)
        assert b"the access_token" not in pickled
        assert again == row
        assert [getattr(again, name).reveal() for name in SECRETS] == [
            "" if name in empty else f"the {name}" for name in SECRETS
        ]


def test_an_unpickled_row_can_be_saved(token):
    row = pickle.loads(pickle.dumps(token))
    row.uid, row.refresh_token = "2", "another"
    row.save()
    assert reread(token).access_token.reveal() == "the access_token"
    assert reread(token).refresh_token.reveal() == "another"


def test_rows_survive_a_cache(token):
    cache.set("rows", list(UserToken.objects.select_related("credentials")))
    [row] = cache.get("rows")
    cache.clear()
    assert row.access_token.reveal() == "the access_token"
    assert row.credentials.client_secret.reveal() == "ok-client-secret"


def test_a_row_with_a_secret_in_clear_is_not_pickled(token, new_token):
    token.refresh_token = "not saved yet"
    for row in (token, new_token(uid="2")):
        with pytest.raises(TypeError, match="Secret"):
            pickle.dumps(row)


def test_a_copy_in_memory_shares_its_secrets(new_token, token):
    for row in (token, new_token(uid="2")):
        assert copy.copy(row).access_token.reveal() == "the access_token"
        assert copy.deepcopy(row).access_token.reveal() == "the access_token"


def test_a_secret_is_no_json(token):
    with pytest.raises(TypeError):
        json.dumps({"access_token": token.access_token})
