"""Processes and a site's threads over the same tokens, at a network whose refresh tokens work once."""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from django_socialgrants import signals
from django_socialgrants.api import SocialAPI
from django_socialgrants.flows.refresh_due import refresh_due
from django_socialgrants.models import UserToken
from django_socialgrants.refreshing import due
from django_socialgrants.refreshing.lease import claim_many
from tests.network import answer

from .conftest import assert_kept, make_due, until

pytestmark = pytest.mark.django_db(transaction=True)

TOKENS = int(os.environ.get("STORM_TOKENS", "2000"))


@pytest.fixture
def refreshed_here():
    """The tokens that this process has refreshed."""
    found = []

    def note(token, **kwargs):
        found.append(token.pk)

    signals.refreshed.connect(note)
    yield found
    signals.refreshed.disconnect(note)


def visit(owner, uids):
    """What the site does for its visitors: the accounts that the network named."""
    try:
        return [SocialAPI(owner, "mailru", uid=uid).users.getInfo()[0]["uid"] for uid in uids]
    finally:
        connections.close_all()


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_and_visitors_share_the_work_without_presenting_a_token_twice(
    ledger, mailru_app, refresh_tokens, refreshed_here, processes
):
    owner = make_due(mailru_app, TOKENS)
    uids = [str(number) for number in range(1, TOKENS + 1)]
    chances = random.Random(processes)
    visits = [chances.sample(uids, TOKENS // 10) for _ in range(4)]

    ledger.hold()
    workers = [refresh_tokens() for _ in range(processes)]
    until(lambda: ledger.waiting == 16 * processes, *workers)
    ledger.release()
    with ThreadPoolExecutor(len(visits)) as pool:
        seen = list(pool.map(visit, [owner] * len(visits), visits))
    reports = [worker.report() for worker in workers]

    assert seen == visits
    assert len(ledger.presented) == sum(ledger.presented.values()) == TOKENS
    assert_kept(ledger)
    assert sum(report["refreshed"] for report in reports) + len(refreshed_here) == TOKENS
    assert all(report["refreshed"] for report in reports)
    assert not any(report["failed"] or report["needs_login"] for report in reports)


def test_what_somebody_has_refreshed_since_it_was_found_due_is_left_alone(
    ledger, mailru_app, refresh_tokens, monkeypatch
):
    make_due(mailru_app, 10)

    def claim_too_late(tokens, owner):
        assert refresh_tokens().report()["refreshed"] == 10
        return claim_many(tokens, owner)

    monkeypatch.setattr(due, "claim_many", claim_too_late)
    report = refresh_due().to_json()
    assert (report["due"], report["refreshed"], report["skipped"]) == (10, 0, 10)
    assert len(ledger.presented) == 10
    assert_kept(ledger)


def test_a_wrong_client_secret_costs_a_call_per_thread_at_most(network, mailru_app, refresh_tokens):
    make_due(mailru_app, 100)
    network.on("/mailru/token", answer({"error": "invalid_client"}, status=401))
    workers = [refresh_tokens("--workers", 8) for _ in range(3)]
    reports = [worker.report(exit_code=2) for worker in workers]
    assert 3 <= len(network.calls_to("/mailru/token")) <= 3 * 8
    assert {report["refreshed"] + report["needs_login"] for report in reports} == {0}
    assert {unchanged(token) for token in UserToken.objects.all()} == {True}


def unchanged(token):
    kept = token.state, token.reason, token.failures, token.generation, token.lease_owner
    return kept == ("active", "", 0, 0, "") and token.refresh_token.reveal() == f"refresh-{token.uid}-0"


def test_a_network_that_refuses_all_tokens_at_once_is_not_believed(network, mailru_app, refresh_tokens):
    make_due(mailru_app, 300)
    network.on("/mailru/token", answer({"error": "invalid_grant"}, status=400))
    first = refresh_tokens("--workers", 8).report(exit_code=3)
    marked = UserToken.objects.filter(state="needs_login").count()
    assert first["needs_login"] == marked < 50
    assert len(network.calls_to("/mailru/token")) <= 50 + 4 * 8  # as many are claimed ahead at most

    second = refresh_tokens("--workers", 8).report(exit_code=3)
    assert second["needs_login"] == 0
    assert UserToken.objects.filter(state="needs_login").count() == marked
