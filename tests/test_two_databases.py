"""Tables that a router keeps in another database than `default`, and replicas that lag behind."""

from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_socialgrants.models import UsedState, UserToken
from tests.conftest import ok_token
from tests.journey import disconnect_url, finish, log_in, start, token_of
from tests.network import answer
from tests.test_races import callback, disconnecting, hold_back, in_threads, member

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])


class Elsewhere:
    """Users and everything of ours are in `second`; sessions stay in `default`."""

    def db_for_read(self, model, **hints):
        return "second" if model._meta.app_label in ("auth", "socialgrants") else None

    db_for_write = db_for_read

    def allow_relation(self, one, other, **hints):
        return True


class ReadsElsewhere:
    """`second` is a replica."""

    def db_for_read(self, model, **hints):
        return "second"

    def db_for_write(self, model, **hints):
        return "default"


@pytest.fixture
def elsewhere(settings, ok_app):
    settings.DATABASE_ROUTERS = [f"{__name__}.Elsewhere"]


def test_first_logins_at_once_make_one_user_and_no_orphans(network, ok_app, elsewhere):
    clients = [Client() for _ in range(8)]
    jobs = [callback(client, start(client)) for client in clients]
    hold_back(network, 8)
    answers = in_threads(jobs)
    assert [status for status, _ in answers] == [302] * 8
    assert User.objects.get() == UserToken.objects.get().user


def test_a_user_whose_token_cannot_be_stored_is_not_left_behind(
    client, network, ok_app, elsewhere, monkeypatch
):
    def save(self, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(UserToken, "save", save)
    state = start(client)
    with pytest.raises(ZeroDivisionError):
        finish(client, state)
    assert not User.objects.exists()


def test_disconnecting_both_accounts_at_once_leaves_one(network, ok_app, elsewhere):
    members = [member(ok_app, number) for number in range(1, 5)]
    answers = in_threads([disconnecting(client, token) for client, tokens in members for token in tokens])
    assert sorted(status for status, _ in answers) == [302] * 4 + [409] * 4
    assert UserToken.objects.values("user").distinct().count() == UserToken.objects.count() == 4


def test_the_network_is_never_asked_inside_a_transaction(client, network, ok_app, elsewhere, monkeypatch):
    for alias in ("default", "second"):
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
    claims = []

    def look(call):
        claims.append(UsedState.objects.count())  # in the server's thread, so by another connection
        connections.close_all()
        answer(ok_token())(call)

    network.on("/ok/token", look)
    log_in(client)
    assert claims == [1]


# --- a replica ----------------------------------------------------------------------------------------------


def asked_of_the_replica(request):
    """What is read, through the replica, of what decides: users, tokens, applications and states."""
    with CaptureQueriesContext(connections["second"]) as captured:
        assert request().status_code == 302
    statements = [query["sql"] for query in captured]
    return [sql for sql in statements if "socialgrants_" in sql or "auth_user" in sql]


def test_a_replica_decides_about_no_login(network, ok_app, settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsElsewhere"]
    for _ in ("first", "again"):
        client = Client()
        assert asked_of_the_replica(partial(client.post, "/social/ok/code/")) == []
        state = start(client)
        assert asked_of_the_replica(partial(finish, client, state)) == []
    assert UserToken.objects.count() == 1


def test_whoever_was_read_from_a_replica_connects_an_account(client, network, ok_app, settings):
    user = User.objects.create_user("anna")
    client.force_login(user)
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsElsewhere"]
    log_in(client)
    assert UserToken.objects.get().user_id == user.pk


def test_a_replica_decides_about_no_disconnect(client, ok_app, settings):
    user = User.objects.create_user("anna")
    kept, gone = (token_of(user, ok_app, uid=uid) for uid in "12")
    client.force_login(user)
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsElsewhere"]
    asked = asked_of_the_replica(partial(client.post, disconnect_url(gone)))
    assert [sql for sql in asked if "socialgrants_" in sql] == []
    assert UserToken.objects.get() == kept
