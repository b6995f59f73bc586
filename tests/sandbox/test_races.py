"""Many requests at once, each with a thread and a connection to the database of its own.

All of them have seen a code or token that is good before the first one uses it up.
"""

from threading import Barrier, Thread

import pytest
from django.db import connection, connections
from django.test import Client

from django_socialgrants.sandbox.models import Issued, RefreshToken

from .driver import FIRST, answer_of, ask_token, code_form, counts, refresh_form

RACERS = 8


@pytest.fixture(autouse=True)
def _together(monkeypatch):
    ready, retire = Barrier(RACERS, timeout=20), Issued.retire

    def retire_together(issued):
        ready.wait()
        return retire(issued)

    monkeypatch.setattr(Issued, "retire", retire_together)


def wins(app, form):
    """How many of the racers got an access token for the same form."""
    won = []

    def race():
        try:
            won.append("access_token" in answer_of(ask_token(Client(), app, form)))
        finally:
            connection.close()

    threads = [Thread(target=race) for _number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == RACERS
    return sum(won)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic_requests", [False, True])
def test_of_many_who_use_a_code_at_once_one_succeeds(client, ok_app, monkeypatch, atomic_requests):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic_requests)
    assert wins(ok_app, code_form(client, ok_app)) == 1
    assert counts() == (1, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_use_a_rotating_refresh_token_at_once_one_succeeds(mailru_app):
    token = RefreshToken.issue(mailru_app, FIRST["mailru"], "", mailru_app.rules.refresh_lifetime)
    assert wins(mailru_app, refresh_form(mailru_app, token.value)) == 1
    assert counts() == (0, 1, 2)
