"""Changing encryption keys: nothing is lost, whoever writes meanwhile and whenever the command dies."""

import io
import os
import random
import signal
import subprocess
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from time import monotonic, sleep

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_socialgrants.crypto import Key, derived_key
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.storage import rotation
from tests.conftest import ok_token
from tests.network import answer
from tests.test_fields import store, stored
from tests.test_races import PATIENCE, together

pytestmark = pytest.mark.database

OLD, NEW, OTHER = (urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
TOKENS, APPLICATIONS = "socialgrants_usertoken", "socialgrants_providercredentials"


@pytest.fixture(autouse=True)
def old_key(settings):
    """Fixtures store under the old key."""
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [OLD]


@pytest.fixture
def keys(settings):
    def configure(*keys):
        settings.SOCIALGRANTS_ENCRYPTION_KEYS = list(keys)

    return configure


@dataclass
class Run:
    code: int
    out: str
    err: str


def rotate(*options):
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("rotate_encryption_keys", *options, stdout=out, stderr=err)
    except SystemExit as end:
        code = end.code
    return Run(code, out.getvalue(), err.getvalue())


def store_tokens(credentials, number, prefix="token"):
    """New rows, in order of their primary keys."""
    user, _ = User.objects.get_or_create(username="anna")
    uids = [f"{prefix}-{position:04}" for position in range(number)]
    UserToken.objects.bulk_create(
        UserToken(user=user, credentials=credentials, uid=uid, access_token=text(0), refresh_token=f"r-{uid}")
        for uid in uids
    )
    return list(UserToken.objects.filter(uid__in=uids).order_by("pk"))


def store_application_anew(application):
    """Under the key that encrypts now."""
    application.client_secret, application.client_key = "ok-client-secret", "CGEXAMPLEKEYBABABA"
    application.save()


def text(generation):
    """The access token of that generation."""
    return f"the access token {generation}"


def fingerprint(key):
    return Key(urlsafe_b64decode(key)).fingerprint


def keys_in_use(model=UserToken):
    """Fingerprints in the encrypted columns, as the database has them."""
    columns = [field.column for field in rotation.encrypted_fields(model)]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM {model._meta.db_table}")
        return {value.split(".")[1] for row in cursor.fetchall() for value in row if value}


def whole_table(model=UserToken):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table} ORDER BY id")
        return cursor.fetchall()


def assert_nothing_lost():
    """Every row holds the tokens of its generation, readable."""
    for token in UserToken.objects.all():
        assert token.access_token == text(token.generation), token
        assert token.refresh_token == f"r-{token.uid}"
    for application in ProviderCredentials.objects.all():
        assert application.client_secret == "ok-client-secret"
        assert application.client_key == "CGEXAMPLEKEYBABABA"


def refresh(pk):
    """What whoever refreshes a token does in the end: one UPDATE, if nobody else has."""
    token = UserToken.objects.get(pk=pk)
    before = token.generation
    same = UserToken.objects.filter(pk=pk, generation=before)
    return same.update(**token.sealed({"access_token": text(before + 1)}), generation=F("generation") + 1)


# --- one run after the other ------------------------------------------------------------------------------


def test_keys_that_are_changed_as_the_readme_says_are_read_by_processes_with_the_settings_before(
    keys, ok_app
):
    """Of two neighbouring deployments each reads what the other one writes."""
    deployments = [[OLD], [OLD, NEW], [NEW, OLD]]
    for before, after in pairwise(deployments):
        for writes, reads in ((before, after), (after, before)):
            keys(*writes)
            store_application_anew(ok_app)
            keys(*reads)
            assert ProviderCredentials.objects.get().client_secret == "ok-client-secret"


@pytest.mark.django_db
def test_everything_is_encrypted_with_the_first_key_and_the_old_one_can_go(ok_app, keys):
    store_tokens(ok_app, 3)
    keys(NEW, OLD)
    store_tokens(ok_app, 2, prefix="later")
    untouched = UserToken.objects.order_by("pk").values_list("pk", "generation", "state", "refreshed_at")
    before = list(untouched), ok_app.updated_at

    done = rotate()
    assert done.code == 0
    assert done.out.splitlines() == [
        f"{APPLICATIONS}: 1 rotated, 0 already current, 0 unreadable",
        f"{TOKENS}: 3 rotated, 2 already current, 0 unreadable",
    ]
    assert done.err == (
        f"The key {fingerprint(OLD)} is no longer used: it can be removed from the settings.\n"
    )
    assert keys_in_use(UserToken) == keys_in_use(ProviderCredentials) == {fingerprint(NEW)}
    assert (list(untouched), ProviderCredentials.objects.get().updated_at) == before

    keys(NEW)
    assert_nothing_lost()
    assert rotate().code == 0


@pytest.mark.django_db
def test_a_second_run_writes_nothing_and_decrypts_nothing(ok_app, keys, monkeypatch):
    store_tokens(ok_app, 3)
    keys(NEW, OLD)
    rotate()
    before = whole_table()
    monkeypatch.setattr(Key, "decrypt", None)
    with CaptureQueriesContext(connection) as queries:
        done = rotate()
    assert done.out.splitlines() == [
        f"{APPLICATIONS}: 0 rotated, 1 already current, 0 unreadable",
        f"{TOKENS}: 0 rotated, 3 already current, 0 unreadable",
    ]
    assert {query["sql"].split()[0] for query in queries} <= {"SELECT", "DECLARE", "FETCH", "CLOSE"}
    assert whole_table() == before


@pytest.mark.django_db
def test_only_what_names_another_key_is_written(ok_app, keys):
    [token] = store_tokens(ok_app, 1)
    keys(NEW, OLD)
    refresh(token.pk)
    fresh = stored(token, "access_token")
    assert rotate().out.splitlines()[1] == f"{TOKENS}: 1 rotated, 0 already current, 0 unreadable"
    assert stored(token, "access_token") == fresh
    assert keys_in_use() == {fingerprint(NEW)}
    assert_nothing_lost()


@pytest.mark.django_db
def test_rows_are_read_in_small_pages_and_written_one_by_one(ok_app, keys, monkeypatch):
    """So memory does not grow with the table, and no lock outlives a row."""
    store_tokens(ok_app, 25)
    keys(NEW, OLD)
    monkeypatch.setattr(rotation, "PAGE", 10)
    with CaptureQueriesContext(connection) as queries:
        rotate()
    of_tokens = [query["sql"] for query in queries if TOKENS in query["sql"]]
    assert sum(sql.startswith("UPDATE") for sql in of_tokens) == 25
    assert sum("LIMIT 10" in sql for sql in of_tokens) == 4  # 10, 10, 5, none
    assert not any("OFFSET" in sql for sql in of_tokens)
    assert len(of_tokens) - sum("GROUP BY" in sql for sql in of_tokens) == 25 + 4
    assert not any(sql.startswith(("BEGIN", "SAVEPOINT")) for sql in of_tokens)


@pytest.mark.django_db
def test_a_dry_run_counts_by_key_and_writes_nothing(ok_app, keys):
    store_tokens(ok_app, 3)
    keys(OTHER)
    [lost] = store_tokens(ok_app, 1, prefix="lost")
    keys(NEW, OLD)
    refresh(UserToken.objects.first().pk)
    store(lost, "refresh_token", "plain text")
    before = whole_table(UserToken), whole_table(ProviderCredentials)

    counted = rotate("--dry-run")
    assert counted.out.splitlines() == [
        f"{APPLICATIONS}: {fingerprint(NEW)} (encrypts): 0 rows",
        f"{APPLICATIONS}: {fingerprint(OLD)} (decrypts): 1 row",
        f"{TOKENS}: {fingerprint(NEW)} (encrypts): 1 row",
        f"{TOKENS}: {fingerprint(OLD)} (decrypts): 3 rows",
        f"{TOKENS}: - (no ciphertext): 1 row",
        f"{TOKENS}: {fingerprint(OTHER)} (not configured): 1 row",
    ]
    assert counted.code == 2
    assert (whole_table(UserToken), whole_table(ProviderCredentials)) == before

    lost.delete()
    assert rotate("--dry-run").code == 0


# --- what can't be read -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_row_whose_key_is_lost_stays_as_it_is_and_the_run_goes_on(ok_app, keys):
    keys(OTHER)
    [lost] = store_tokens(ok_app, 1, prefix="lost")
    keys(OLD)
    store_tokens(ok_app, 3)
    keys(NEW, OLD)
    before = whole_table()[0]
    done = rotate()
    assert done.code == 2
    assert done.out.splitlines()[1] == f"{TOKENS}: 3 rotated, 0 already current, 1 unreadable"
    assert done.err.splitlines() == [
        f"{TOKENS} {lost.pk}: encrypted with the key {fingerprint(OTHER)}, which is not configured",
        f"The key {fingerprint(OLD)} is no longer used: it can be removed from the settings.",
        f"The key {fingerprint(OTHER)} is needed, but not configured.",
        "1 row is not encrypted with the first key.",
    ]
    assert whole_table()[0] == before

    keys(NEW, OTHER)
    assert rotate().code == 0
    assert_nothing_lost()


@pytest.mark.django_db
def test_all_keys_lost_changes_no_row(ok_app, keys):
    store_tokens(ok_app, 3)
    before = whole_table(UserToken), whole_table(ProviderCredentials)
    keys(NEW)
    done = rotate()
    assert (done.code, done.err.count(fingerprint(OLD))) == (2, 1 + 3 + 1)
    assert (whole_table(UserToken), whole_table(ProviderCredentials)) == before


@pytest.mark.parametrize("damage", ["changed", "moved", "plain"])
@pytest.mark.django_db
def test_a_damaged_row_stays_as_it_is_and_the_run_goes_on(ok_app, keys, damage):
    damaged, other, _ = store_tokens(ok_app, 3)
    ciphertext = stored(damaged, "refresh_token")
    damages = {
        "changed": ciphertext[:-8] + ("A" if ciphertext[-8] != "A" else "B") + ciphertext[-7:],
        "moved": stored(other, "refresh_token"),
        "plain": "a planted secret in clear",
    }
    store(damaged, "refresh_token", damages[damage])
    before = whole_table()[0]
    keys(NEW, OLD)
    done = rotate("-v", "3")
    reason = f"damaged, or moved here from another row (key {fingerprint(OLD)})"
    assert done.code == 1
    assert done.out.splitlines()[1] == f"{TOKENS}: 2 rotated, 0 already current, 1 unreadable"
    assert done.err.splitlines() == [
        f"{TOKENS} {damaged.pk}: {reason if damage != 'plain' else 'no ciphertext'}",
        "1 row is not encrypted with the first key.",
    ]
    assert whole_table()[0] == before
    assert "planted" not in done.out + done.err + rotate("--dry-run").out


# --- beside others ----------------------------------------------------------------------------------------


@contextmanager
def before_each_write(act):
    """While the rotation is about to write, having read, `act` happens on another connection."""

    def write(execute, sql, *args):
        if sql.startswith("UPDATE"):
            together([act])
        return execute(sql, *args)

    with connection.execute_wrapper(write):
        yield


@pytest.fixture
def one_token(ok_app, keys):
    """The only row that is to be rotated."""
    keys(NEW)
    store_application_anew(ok_app)
    keys(OLD)
    [token] = store_tokens(ok_app, 1)
    keys(NEW, OLD)
    return token


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_refreshed_meanwhile_is_never_overwritten(one_token):
    writes = count()
    with before_each_write(lambda: next(writes) or refresh(one_token.pk)):
        done = rotate()
    assert UserToken.objects.get().generation == 1
    assert_nothing_lost()
    assert (done.code, keys_in_use()) == (0, {fingerprint(NEW)})


@pytest.fixture
def refresh_in_old_process(keys):
    """Refresh a token as a process does that still has the old settings."""

    def refresh_with_old_key(pk):
        keys(OLD)
        refresh(pk)
        keys(NEW, OLD)

    return refresh_with_old_key


@pytest.mark.django_db(transaction=True)
def test_a_token_that_a_process_with_old_settings_stores_meanwhile_is_rotated_too(
    one_token, refresh_in_old_process
):
    writes = count()
    with before_each_write(lambda: next(writes) < 2 and refresh_in_old_process(one_token.pk)):
        done = rotate()
    assert UserToken.objects.get().generation == 2
    assert_nothing_lost()
    assert (done.code, keys_in_use()) == (0, {fingerprint(NEW)})


@pytest.mark.django_db(transaction=True)
def test_a_token_that_never_holds_still_is_left_for_another_run(one_token, refresh_in_old_process):
    with before_each_write(partial(refresh_in_old_process, one_token.pk)):
        done = rotate()
    assert (done.code, done.err) == (1, "1 row is not encrypted with the first key.\n")
    assert UserToken.objects.get().generation > 1
    assert_nothing_lost()
    assert rotate().code == 0


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_disconnected_meanwhile_stays_away(one_token):
    with before_each_write(lambda: UserToken.objects.all().delete()):
        assert rotate().code == 0
    assert not UserToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_an_old_process_stores_behind_the_run_is_noticed(ok_app, keys, refresh_in_old_process):
    first, _ = store_tokens(ok_app, 2)
    keys(NEW, OLD)
    writes = count(1)  # the application, the first token, the second
    with before_each_write(lambda: next(writes) == 3 and refresh_in_old_process(first.pk)):
        done = rotate()
    assert (done.code, done.err) == (1, "1 row is not encrypted with the first key.\n")
    assert rotate().code == 0
    assert_nothing_lost()


@pytest.mark.django_db(transaction=True)
def test_the_command_that_refreshes_may_run_meanwhile(network, ok_app, keys):
    due = {"next_refresh_at": timezone.now(), "expires_at": timezone.now()}
    for token in store_tokens(ok_app, 2):
        UserToken.objects.filter(pk=token.pk).update(**due)
    network.on("/ok/token", lambda call: answer(ok_token(access_token=text(1), refresh_token=None))(call))
    keys(NEW, OLD)
    writes = count()
    with before_each_write(
        lambda: next(writes) == 1 and call_command("refresh_tokens", stdout=io.StringIO())
    ):
        done = rotate()
    assert done.code == 0
    assert set(UserToken.objects.values_list("generation", flat=True)) == {1}
    assert len(network.calls_to("/ok/token")) == 2
    keys(NEW)
    assert_nothing_lost()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_many_refreshes_beside_rotations_to_and_fro_lose_nothing(ok_app, keys):
    pks = [token.pk for token in store_tokens(ok_app, 10)]
    busy = set(range(4))

    def refresh_often(number):
        try:
            dice = random.Random(number)
            return sum(refresh(dice.choice(pks)) for _ in range(50))
        finally:
            busy.remove(number)

    def rotate_to_and_fro():
        while busy:
            for order in [(NEW, OLD), (OLD, NEW)]:
                keys(*order)
                assert rotate().code in (0, 1)
        return 0

    refreshed = together([*(partial(refresh_often, number) for number in range(4)), rotate_to_and_fro])
    assert_nothing_lost()
    assert sum(UserToken.objects.values_list("generation", flat=True)) == sum(refreshed) > 0
    keys(NEW, OLD)
    assert rotate().code == 0
    keys(NEW)
    assert_nothing_lost()


# --- stopping ---------------------------------------------------------------------------------------------

MANAGE = """
import sys
from django.conf import settings
settings.SOCIALGRANTS_ENCRYPTION_KEYS = sys.argv.pop(1).split(",")
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


@contextmanager
def process(*keys):
    """A process of the command with those keys, on the database of this test. What it says is not read."""
    name = connection.settings_dict["NAME"]
    server = os.environ.get("DATABASE_URL", "").rpartition("/")[0]
    url = f"{server}/{name}" if server and connection.vendor != "sqlite" else f"sqlite:///{name}"
    started = subprocess.Popen(
        [sys.executable, "-c", MANAGE, ",".join(keys), "rotate_encryption_keys"],
        env=os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pipesize=4096,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.fixture
def half_way(ok_app, keys):
    """Start the command and wait until it is in the middle of its work, where it can't go on.

    There are many rows of a lost key, and as nobody reads what it says of them, the pipe is full soon.
    """
    store_tokens(ok_app, 20, prefix="a")
    keys(OTHER)
    store_tokens(ok_app, 300, prefix="b")
    keys(OLD)
    store_tokens(ok_app, 20, prefix="c")
    keys(NEW, OLD)

    def wait(started):
        deadline = monotonic() + PATIENCE
        while count_rotated() < 20 and monotonic() < deadline and started.poll() is None:
            sleep(0.01)
        assert (count_rotated(), started.poll()) == (20, None)

    return wait


def count_rotated():
    head = Key(urlsafe_b64decode(NEW)).head
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {TOKENS} WHERE access_token LIKE %s", [f"{head}%"])
        return cursor.fetchone()[0]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_run_that_was_killed_is_taken_up_by_the_next(half_way, keys):
    with process(NEW, OLD) as started:
        half_way(started)
        started.send_signal(signal.SIGKILL)
        started.wait(PATIENCE)
    assert count_rotated() == 20
    keys(NEW, OLD, OTHER)
    assert_nothing_lost()

    done = rotate()
    assert (done.code, count_rotated()) == (0, 340)
    assert done.out.splitlines()[1] == f"{TOKENS}: 320 rotated, 20 already current, 0 unreadable"
    keys(NEW)
    assert_nothing_lost()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.django_db(transaction=True)
def test_a_signal_stops_the_run_after_the_row_in_hand(half_way, number):
    with process(NEW, OLD) as started:
        half_way(started)
        started.send_signal(number)
        out, err = started.communicate(timeout=PATIENCE)
    assert started.returncode == 128 + number
    assert "20 rotated" in out
    assert "Stopped." in err
    assert "Traceback" not in err
    assert count_rotated() == 20


# --- keys that are derived from SECRET_KEY ----------------------------------------------------------------


@pytest.fixture
def derived(settings):
    def configure(secret_key, *fallbacks):
        settings.SOCIALGRANTS_ENCRYPTION_KEYS = []
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = secret_key, list(fallbacks)

    return configure


FIRST, SECOND = ("the secret key of this site, number one", "the secret key of this site, number two")


@pytest.mark.django_db
def test_the_secret_key_can_be_changed(ok_app, keys, derived):
    keys(derived_key(FIRST))
    store_tokens(ok_app, 2)
    derived(SECOND, FIRST)
    store_application_anew(ok_app)
    assert rotate().code == 0
    derived(SECOND)
    assert_nothing_lost()


@pytest.mark.django_db
def test_a_site_can_move_from_its_secret_key_to_keys_of_its_own_and_back(ok_app, keys, derived):
    derived(FIRST)
    store_application_anew(ok_app)
    store_tokens(ok_app, 2)

    keys(NEW, derived_key(FIRST))
    assert_nothing_lost()
    assert rotate().code == 0
    keys(NEW)
    assert_nothing_lost()

    keys(derived_key(FIRST), NEW)
    assert rotate().code == 0
    derived(FIRST)
    assert_nothing_lost()
