"""People connect, disconnect and call while runs refresh: nothing is presented twice, lost, left over or a 500.

STORM_SECONDS is how long (3; a minute shows more).
"""

import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import Client

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import NeedsLogin, ProviderError, UnsafeTransaction
from django_socialgrants.models import UserToken
from tests.journey import callback_url, disconnect_url, start
from tests.network import answer

from .conftest import end_leases
from .ledger import Ledger

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SECONDS = float(os.environ.get("STORM_SECONDS", "3"))
THREADS, PEOPLE = 6, 5


class Codes(Ledger):
    """Gives a token for the code of an account, too; all are short-lived, so that there always is much to do."""

    def token_endpoint(self, call):
        if call.params["grant_type"] != "authorization_code":
            super().token_endpoint(call)
            return
        uid = call.params["code"].split("-")[1]
        with self._changed:
            self._newest[uid] += 1
            pair = self.pair(uid)
        self._grant(call, uid, *pair)

    def _grant(self, call, uid, access, refresh):
        named = {"access_token": access, "refresh_token": refresh, "x_mailru_vid": uid}
        answer({**named, "token_type": "bearer", "expires_in": 2})(call)


def come_back(client, uid):
    """Through the network's dialog, as the owner of that account."""
    query = {"code": f"code-{uid}", "state": start(client, "mailru")}
    return client.get(callback_url("mailru"), query)


class Crowd:
    """Some people with accounts of their own, about whom one thread decides; anybody may call for them."""

    def __init__(self, number):
        self.chances = random.Random(number)
        self.seen = Counter()
        self.people = {}
        for person in range(PEOPLE):
            user = User.objects.create_user(f"person-{number}-{person}", password="x")
            client = Client(raise_request_exception=False)
            client.force_login(user)
            self.people[f"{number + 1}0{person}"] = user, client
        self.strangers = [f"{number + 1}9{stranger}" for stranger in range(PEOPLE)]

    def act(self, ends):
        steps = (self.connect, self.disconnect, self.call, self.call, self.call_in_atomic, self.log_in)
        try:
            while time.monotonic() < ends:
                step = self.chances.choice(steps)
                self.seen[step.__name__, step()] += 1
        finally:
            connections.close_all()
        return self.seen

    def connect(self):
        uid, (_, client) = self.chances.choice(list(self.people.items()))
        return come_back(client, uid).status_code

    def log_in(self):
        return come_back(
            Client(raise_request_exception=False), self.chances.choice(self.strangers)
        ).status_code

    def disconnect(self):
        user, client = self.chances.choice(list(self.people.values()))
        token = UserToken.objects.filter(user=user).first()
        return client.post(disconnect_url(token)).status_code if token else None

    def call(self):
        user, _ = self.chances.choice(list(self.people.values()))
        try:
            SocialAPI(user, "mailru").users.getInfo()
        except (NeedsLogin, ProviderError, UnsafeTransaction) as error:
            return type(error).__name__
        return "well"

    def call_in_atomic(self):
        with transaction.atomic():
            return self.call()


def test_a_storm_presents_nothing_twice_and_loses_and_leaves_over_nothing(
    network, mailru_app, refresh_tokens
):
    ledger = Codes()
    network.on("/mailru/token", ledger.token_endpoint)
    network.on("/mailru/api", ledger.api_endpoint)
    crowds = [Crowd(number) for number in range(THREADS)]
    ends = time.monotonic() + SECONDS
    with ThreadPoolExecutor(THREADS) as pool:
        acting = [pool.submit(crowd.act, ends) for crowd in crowds]
        while time.monotonic() < ends:
            workers = [refresh_tokens("--workers", 4) for _ in range(2)]
            for worker in workers:
                assert worker.exit_code() in (0, 1), worker.errors.read_text()
        seen = sum((future.result() for future in acting), Counter())

    statuses = {answer for _, answer in seen if isinstance(answer, int)}
    assert statuses <= {302, 404}, seen
    assert seen["call", "well"] and seen["connect", 302] and seen["log_in", 302], seen
    print(sum(ledger.presented.values()), "refreshes;", dict(seen))  # for who runs it with -s
    assert ledger.presented_twice == []

    end_leases()
    refresh_tokens("--within", 10).exit_code()
    for token in UserToken.objects.filter(state="active"):
        assert (token.access_token.reveal(), token.refresh_token.reveal()) == ledger.pair(token.uid)
    lost = UserToken.objects.exclude(state="active")
    assert list(lost.values_list("uid", "reason")) == []
    strangers = User.objects.exclude(username__startswith="person-")
    assert not strangers.filter(social_tokens=None).exists()
