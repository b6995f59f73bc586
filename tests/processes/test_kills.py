"""Processes that are killed, frozen, or asked to stop, in the middle of their work."""

import random
import signal
import time

import pytest

from django_socialgrants.models import UserToken

from .conftest import assert_kept, end_leases, make_due, until
from .ledger import FIXED, GRACE, STRICT

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS = 4
AT_ONCE = 2 * WORKERS
"""Tokens that one process has claimed, but not yet stored, at most."""


def storm(ledger, refresh_tokens, *, rounds, seed):
    """Kill two processes a round at random points; afterwards nobody is at work, and all leases have ended."""
    chances = random.Random(seed)
    for _ in range(rounds):
        crowd = [refresh_tokens("--workers", WORKERS) for _ in range(2)]
        calls = sum(ledger.presented.values()) + chances.randrange(1, 40)
        until(lambda calls=calls: sum(ledger.presented.values()) >= calls)
        chances.shuffle(crowd)
        for worker in crowd:
            time.sleep(chances.random() / 20)
            worker.kill()
    end_leases()


@pytest.mark.parametrize("rotation", [FIXED, GRACE])
def test_after_any_number_of_kills_one_run_settles_all_where_old_refresh_tokens_still_work(
    ledger_of, ok_app, mailru_app, refresh_tokens, rotation
):
    ledger = ledger_of(rotation, latency=0.02)
    make_due(ok_app if rotation == FIXED else mailru_app, 300)
    storm(ledger, refresh_tokens, rounds=3, seed=7)
    report = refresh_tokens().report()
    assert report["due"] == report["refreshed"] > 0
    assert_kept(ledger)


def test_after_any_number_of_kills_nothing_is_lost_but_what_was_on_its_way_to_a_strict_network(
    ledger, mailru_app, refresh_tokens
):
    ledger.latency = 0.02
    make_due(mailru_app, 300)
    storm(ledger, refresh_tokens, rounds=3, seed=11)
    held = {token.uid: token.refresh_token.reveal() for token in UserToken.objects.all()}
    on_their_way = {uid for uid, refresh in held.items() if refresh != ledger.pair(uid)[1]}
    report = refresh_tokens().report()

    lost = UserToken.objects.filter(state="needs_login")
    assert {token.uid for token in lost} == on_their_way
    assert {token.reason for token in lost} == {"ambiguous_rotation"}
    assert len(on_their_way) <= 3 * 2 * AT_ONCE
    assert sorted(ledger.refused) == sorted(on_their_way)
    assert report["needs_login"] == len(on_their_way)
    assert report["due"] == report["needs_login"] + report["refreshed"]
    lost.delete()
    assert_kept(ledger)


@pytest.mark.parametrize(("rotation", "state"), [(GRACE, "active"), (STRICT, "needs_login")])
def test_what_a_frozen_process_writes_after_its_lease_is_dropped(
    ledger_of, mailru_app, refresh_tokens, rotation, state
):
    ledger = ledger_of(rotation)
    make_due(mailru_app, 8)
    ledger.hold()
    frozen = refresh_tokens("--workers", 8)
    until(lambda: ledger.waiting == 8, frozen)
    frozen.send(signal.SIGSTOP)
    end_leases()
    second = refresh_tokens("--workers", 8)
    until(lambda: ledger.waiting == 16, second)
    ledger.release()
    report = second.report()
    assert report["refreshed" if state == "active" else "needs_login"] == 8
    rows = list(UserToken.objects.order_by("pk").values())

    frozen.send(signal.SIGCONT)
    report = frozen.report()
    assert (report["refreshed"], report["needs_login"], report["failed"]) == (0, 0, 0)
    assert list(UserToken.objects.order_by("pk").values()) == rows
    assert {row["state"] for row in rows} == {state}
    if state == "active":
        assert_kept(ledger)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_asked_to_stop_settles_what_is_on_its_way_and_gives_back_the_rest(
    ledger, mailru_app, refresh_tokens, number
):
    make_due(mailru_app, 200)
    ledger.hold()
    worker = refresh_tokens("--workers", 8, STORM_TIMEOUT=3)
    until(lambda: ledger.waiting == 8, worker)
    worker.send(number)
    until(worker.has_noted_a_signal)
    ledger.release(5)  # and three never answer
    report = worker.report(exit_code=128 + number)

    assert sum(ledger.presented.values()) == len(ledger.presented) == 8
    assert (report["due"], report["refreshed"], report["failed"], report["skipped"]) == (200, 5, 3, 192)
    tokens = list(UserToken.objects.all())
    assert {(token.state, token.lease_owner, token.lease_until) for token in tokens} == {("active", "", None)}
    assert sum(token.access_token.reveal() == ledger.pair(token.uid)[0] for token in tokens) == 197
    assert [token.reason for token in tokens if token.reason] == ["outcome_unknown"] * 3
