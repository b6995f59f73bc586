"""Many requests at once, each with a thread and a connection to the database of its own.

All of them have seen a code, a token or a rehearsal that is good before the first one uses it up.
"""

from threading import Barrier, Thread, local

import pytest
from django.db import connection, connections
from django.test import Client

from django_socialgrants.sandbox.models import AccessToken, Issued, RefreshToken, Rehearsal
from django_socialgrants.sandbox.rehearsal import begin

from .driver import FIRST, answer_of, ask_token, code_form, counts, refresh_form

RACERS = 8


@pytest.fixture(autouse=True)
def _together(monkeypatch):
    """Racers wait for each other before their first attempt to retire something, or to take a rehearsal."""
    for model, name in ((Issued, "retire"), (Rehearsal, "take")):
        monkeypatch.setattr(model, name, after_all_are_ready(getattr(model, name)))


def after_all_are_ready(method):
    ready, waited = Barrier(RACERS, timeout=20), local()

    def together(self):
        if not hasattr(waited, "once"):
            waited.once = True
            ready.wait()
        return method(self)

    return together


def responses(app, form):
    """What the racers are answered to the same form."""
    found = []

    def race():
        try:
            found.append(ask_token(Client(), app, form))
        finally:
            connection.close()

    threads = [Thread(target=race) for _number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == RACERS
    return found


def wins(app, form):
    """How many of the racers got an access token for the same form."""
    return sum("access_token" in answer_of(response) for response in responses(app, form))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic_requests", [False, True])
def test_of_many_who_use_a_code_at_once_one_succeeds(client, ok_app, monkeypatch, atomic_requests):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic_requests)
    assert wins(ok_app, code_form(client, ok_app)) == 1
    assert counts() == (1, 1, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("network", ["ok", "mailru"])
def test_of_many_who_use_a_strict_refresh_token_at_once_one_succeeds_and_even_that_in_vain(request, network):
    app, form = rotating(request.getfixturevalue(f"{network}_app"), "strict")
    assert wins(app, form) == 1
    assert counts() == (0, 1, 2)
    assert not any(token.alive for token in (*RefreshToken.objects.all(), *AccessToken.objects.all()))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("network", ["ok", "mailru"])
def test_many_who_use_a_graceful_refresh_token_at_once_get_the_same_tokens(request, network):
    app, form = rotating(request.getfixturevalue(f"{network}_app"), "grace")
    answers = [answer_of(response) for response in responses(app, form)]
    assert all(answer == answers[0] for answer in answers)
    assert counts() == (0, 1, 2)
    assert RefreshToken.objects.get(value=answers[0]["refresh_token"]).alive


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_as_many_fail_as_were_counted(ok_app):
    token = RefreshToken.issue(ok_app, FIRST["ok"], "", ok_app.rules.refresh_lifetime)
    begin("unavailable", count=3)
    statuses = [response.status_code for response in responses(ok_app, refresh_form(ok_app, token.value))]
    assert sorted(statuses) == [200] * (RACERS - 3) + [503] * 3


def rotating(app, rotation):
    """The application in that mode, and the form that refreshes with a token of its."""
    app.rotation = rotation
    app.save()
    token = RefreshToken.issue(app, FIRST[app.network], "", app.rules.refresh_lifetime)
    return app, refresh_form(app, token.value)
