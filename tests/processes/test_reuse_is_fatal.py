"""Processes and visitors at a network where presenting a refresh token twice ends everything that came of it."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from django_socialgrants.api import SocialAPI
from django_socialgrants.models import UserToken

from .conftest import assert_kept, make_due, until
from .test_crowds import TOKENS
from .test_kills import AT_ONCE, storm

pytestmark = pytest.mark.django_db(transaction=True)

PROCESSES = 8


def visit(owner, uids):
    try:
        return [str(SocialAPI(owner, "vkid", uid=uid).users.get()[0]["id"]) for uid in uids]
    finally:
        connections.close_all()


def expire():
    """As if the life of every access token that was not refreshed was over."""
    past = timezone.now() - timedelta(seconds=1)
    UserToken.objects.filter(refreshed_at=None).update(expires_at=past, next_refresh_at=past)


def test_processes_and_visitors_present_each_refresh_token_once(fatal_ledger, vkid_app, refresh_tokens):
    owner = make_due(vkid_app, TOKENS)
    uids = [str(number) for number in range(1, TOKENS + 1)]
    chances = random.Random(PROCESSES)
    visits = [chances.sample(uids, TOKENS // 10) for _ in range(4)]

    fatal_ledger.hold()
    workers = [refresh_tokens() for _ in range(PROCESSES)]
    until(lambda: fatal_ledger.waiting == 16 * PROCESSES, *workers)
    fatal_ledger.release()
    with ThreadPoolExecutor(len(visits)) as pool:
        seen = list(pool.map(visit, [owner] * len(visits), visits))
    reports = [worker.report() for worker in workers]

    assert seen == visits
    assert len(fatal_ledger.presented) == sum(fatal_ledger.presented.values()) == TOKENS
    assert fatal_ledger.wrong_devices == fatal_ledger.refused == []
    assert_kept(fatal_ledger)
    assert not any(report["failed"] or report["needs_login"] for report in reports)


def test_forty_kills_lose_at_most_what_was_on_its_way_and_it_is_presented_again_only_when_nothing_is_to_lose(
    fatal_ledger, vkid_app, refresh_tokens
):
    fatal_ledger.latency = 0.02
    make_due(vkid_app, 3000)  # more than the storm gets to, however quick the machine
    UserToken.objects.update(expires_at=timezone.now() + timedelta(hours=1))  # however long the storm takes
    storm(fatal_ledger, refresh_tokens, rounds=20, seed=13)
    held = {token.uid: token.refresh_token.reveal() for token in UserToken.objects.all()}
    on_their_way = {uid for uid, refresh in held.items() if refresh != fatal_ledger.pair(uid)[1]}
    assert 0 < len(on_their_way) <= 40 * AT_ONCE
    assert fatal_ledger.presented_twice == []

    report = refresh_tokens().report(exit_code=1)  # while the access tokens are good
    assert report["needs_login"] == 0
    assert fatal_ledger.presented_twice == fatal_ledger.refused == []
    waiting = UserToken.objects.filter(reason="outcome_unknown")
    assert on_their_way <= {token.uid for token in waiting}
    assert {token.state for token in waiting} == {"active"}

    expire()
    report = refresh_tokens("--accept-mass-revocation").report()  # more than the valve lets through
    lost = UserToken.objects.filter(state="needs_login")
    assert {token.uid for token in lost} == set(fatal_ledger.refused) == on_their_way
    assert {token.reason for token in lost} == {"ambiguous_rotation"}
    assert report["needs_login"] == len(on_their_way)
    assert max(fatal_ledger.presented.values()) == 2
    lost.delete()
    assert_kept(fatal_ledger)
