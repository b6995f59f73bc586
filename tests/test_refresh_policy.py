"""When an application is left alone, and which refusals are believed: one policy for runs and for visitors."""

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.utils import timezone

from django_socialgrants import signals
from django_socialgrants.exceptions import NeedsLogin, ProviderError, ProviderUnavailable
from django_socialgrants.models import ApplicationHealth, UserToken
from django_socialgrants.oauth.values import Identity, Token
from django_socialgrants.refreshing import workers
from django_socialgrants.refreshing.health import Health, News, Sign
from tests.due import NOW, TokenEndpoint, counts, make_due_again, row, run, store_due
from tests.fakes import FakeMailRu
from tests.network import answer
from tests.test_refresh_failures import cut, heard, is_dead, meanwhile, one_after_the_other, out_of_order
from tests.tokens import call, expired, fails, requests_of, stale
from tests.tokens import granted as granted_token

pytestmark = pytest.mark.django_db

ACCEPTED, REFUSED, FAILED = News(Sign.ACCEPTED), News(Sign.REFUSED), News(Sign.FAILED)
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)

invalid_grant = answer({"error": "invalid_grant"}, status=400)


# --- the policy itself -------------------------------------------------------------------------------------------


def after(*news, health=None, known=None):
    """What is known after so many answers, all of which came at noon."""
    health = health or Health()
    for item in news:
        health = health.after(item, known or Health(), NOON)
    return health


def test_ten_failures_in_a_row_are_an_outage():
    assert not after(*[FAILED] * 9).pause(NOON)
    outage = after(*[FAILED] * 10)
    assert (outage.reason, outage.failures, outage.is_probing) == ("outage", 10, True)
    assert 24 <= outage.pause(NOON) <= 30
    assert after(FAILED, health=outage) == outage  # that was on its way when the pause began


def test_failures_among_successes_are_none_however_many():
    answers = [FAILED, ACCEPTED, ACCEPTED, FAILED, ACCEPTED, FAILED, ACCEPTED, ACCEPTED, ACCEPTED, ACCEPTED]
    assert after(*answers * 70) == Health()
    assert after(*[FAILED] * 9, ACCEPTED, *[FAILED] * 9).pause(NOON) == 0


def test_the_fiftieth_refusal_closes_the_valve_if_half_are_refused():
    assert not after(*[REFUSED] * 49).is_revoked
    assert after(*[REFUSED] * 50).is_revoked
    assert not after(*[REFUSED, ACCEPTED, ACCEPTED] * 60).is_revoked
    assert after(*[REFUSED, ACCEPTED] * 50).is_revoked
    assert after(*[ACCEPTED] * 500, *[REFUSED] * 50).is_revoked


def test_a_success_ends_only_what_was_known_when_it_was_asked_for():
    closed, throttled = after(*[REFUSED] * 50), after(News(Sign.THROTTLED, 600))
    refused = after(News(Sign.CLIENT_REFUSED))
    for trouble in (closed, throttled, refused):
        assert after(ACCEPTED, health=trouble).reason == trouble.reason
        assert after(ACCEPTED, health=trouble).paused_until == trouble.paused_until
        assert after(ACCEPTED, health=trouble, known=trouble) == Health()
    both = after(News(Sign.THROTTLED, 600), health=closed)
    assert (both.is_revoked, both.pause(NOON)) == (True, 600)
    only_paused = after(ACCEPTED, health=both, known=closed)
    assert only_paused.pause(NOON) == 600


def test_what_was_accepted_is_remembered_only_beside_refusals():
    assert after(*[ACCEPTED] * 1000) == Health()
    assert after(REFUSED, ACCEPTED).recent == "10"
    assert after(REFUSED, *[ACCEPTED] * 100) == Health()


# --- visitors ----------------------------------------------------------------------------------------------------


def visitors(application, number):
    """The tokens of so many users that have expired."""
    users = [User.objects.create(username=f"visitor-{number}") for number in range(number)]
    return [(user, expired(user, application, uid=str(1000 + user.pk))) for user in users]


def dead():
    return UserToken.objects.filter(state="needs_login")


def test_a_network_that_refuses_every_visitor_is_not_believed(network, ok_app):
    """150 people browse while the network wrongly says invalid_grant; it says so once for each of them."""
    people = visitors(ok_app, 150)
    network.on("/ok/token", invalid_grant)
    with heard(signals.needs_login) as told:
        for user, _ in people:
            with pytest.raises((NeedsLogin, ProviderError)):
                call(user)
    assert dead().count() == len(told) == 49
    assert ApplicationHealth.objects.get().reason == "mass_revocation"

    network.on("/ok/token", TokenOfAnybody())
    call(people[-1][0])
    assert ApplicationHealth.objects.get().reason == ""
    others = [user for user, token in people if row(token).state == "active"]
    for user in others:
        call(user)
    assert dead().count() == 49


class TokenOfAnybody:
    def __call__(self, request):
        answer({"access_token": "new", "expires_in": 1800})(request)


def test_runs_and_visitors_count_together(network, ok_app):
    network.on("/ok/token", invalid_grant)
    for user, _ in visitors(ok_app, 30):
        with pytest.raises(NeedsLogin):
            call(user)
    store_due(ok_app, 60)
    assert run(workers=2).exit_code == 3
    assert 30 < dead().count() <= 49
    user, token = late_visitor(ok_app)
    fails(user, ProviderError)
    assert row(token).state == "active"


def late_visitor(application):
    user = User.objects.create(username="late")
    return user, expired(user, application, uid="777")


def test_visitors_count_failures_and_share_the_pause(network, ok_app):
    network.on("/ok/token", out_of_order)
    people = visitors(ok_app, 14)
    for user, _ in people:
        fails_with = fails(user, ProviderUnavailable)
    assert len(network.calls_to("/ok/token")) == 10
    assert "paused" in str(fails_with)
    store_due(ok_app, 5)
    report = run()
    assert (counts(report), report.applications["ok"].problem) == ((9, 0, 0, 0, 9), "outage")


def test_a_few_failures_among_many_successes_do_not_pause_a_run(network, ok_app):
    """However the answers fall into batches: they count in the order in which they came."""
    good = TokenEndpoint()

    def behave(request):
        unlucky = int(request.params["refresh_token"].split("-")[1]) % 10 in (0, 3, 6)
        (out_of_order if unlucky else good)(request)

    network.on("/ok/token", behave)
    store_due(ok_app, 400)
    assert counts(run()) == (400, 280, 0, 120, 0)
    assert not ApplicationHealth.objects.exclude(paused_until=None).exists()


def test_an_operator_who_believes_the_network_has_held_back_tokens_settled_at_once(network, ok_app):
    network.on("/ok/token", invalid_grant)
    tokens = store_due(ok_app, 120)
    assert run(workers=4).exit_code == 3
    held_back = UserToken.objects.filter(state="active", failures=1)
    assert held_back.filter(next_refresh_at__gt=NOW()).count() == held_back.count() > 0
    left = UserToken.objects.filter(state="active").count()
    report = run(accept_mass_revocation=True)
    assert (counts(report), report.exit_code) == ((left, 0, left, 0, 0), 0)
    assert dead().count() == len(tokens)


def test_a_dry_run_of_an_operator_who_believes_changes_nothing(network, ok_app):
    network.on("/ok/token", invalid_grant)
    store_due(ok_app, 120)
    run(workers=4)
    before = list(UserToken.objects.order_by("pk").values())
    run(accept_mass_revocation=True, dry_run=True)
    assert list(UserToken.objects.order_by("pk").values()) == before
    assert ApplicationHealth.objects.get().reason == "mass_revocation"


# --- the application's own secret --------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-600, 0, 600], ids=["slow", "right", "fast"])
def test_a_secret_that_was_saved_is_tried_once_whatever_the_clock_of_the_host(
    network, ok_app, monkeypatch, ahead
):
    network.on("/ok/token", answer({"error": "invalid_client"}, status=401))
    people = visitors(ok_app, 4)
    monkeypatch.setattr(timezone, "now", lambda: NOW() + timedelta(seconds=ahead))
    for expected in (1, 2):  # requests, before and after the secret is saved again
        for user, _ in people:
            fails(user, ProviderError)
        assert len(network.calls_to("/ok/token")) == expected
        ok_app.save()


# --- short-lived tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [120, 3600])
def test_tokens_that_live_for_a_minute_are_refreshed_once_a_minute(network, ok_app, settings, before):
    settings.SOCIALGRANTS_REFRESH_BEFORE = before
    network.on("/ok/token", answer({"access_token": "short", "expires_in": 60}))
    [(user, token)] = visitors(ok_app, 1)
    for _ in range(10):
        call(user)
    assert requests_of(network, "ok") == ["token", *["api"] * 10]
    assert counts(run()) == (0, 0, 0, 0, 0)
    assert 50 < (row(token).next_refresh_at - NOW()).total_seconds() <= 54


# --- while others change the row ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by", ["run", "visitor"])
def test_a_grant_without_refresh_token_during_a_rotation_keeps_what_the_rotation_brings(
    network, mailru_app, by
):
    """The one that the row would keep is dead."""
    user = User.objects.create(username="anna")
    token = expired(user, mailru_app)
    make_due_again(token)

    def log_in_again():
        again = row(token)
        new = Token(access_token="granted", expires_in=86400)
        changes = again.changes_by_grant(new, Identity(uid=token.uid), grant_type="implicit")
        UserToken.objects.filter(pk=token.pk).update(**again.sealed(changes), generation=1)

    rotated = answer({"access_token": "rotated", "refresh_token": "the new one", "expires_in": 86400})
    network.on("/mailru/token", meanwhile(log_in_again, rotated))
    if by == "run":
        assert counts(run()) == (1, 0, 0, 0, 1)
    else:
        call(user, "mailru")
    now = row(token)
    assert (now.access_token, now.refresh_token) == ("granted", "the new one")
    assert (now.state, now.grant_type, now.lease_owner) == ("active", "implicit", "")


def losing_confirmations(of, times=1):
    """A wrapper of statements that reports a failure of those that have been carried out all the same."""
    left = [times]

    def execute(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("UPDATE") and of in str(params).lower() and left[0]:
            left[0] -= 1
            raise OperationalError("the connection was lost")
        return result

    return execute


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [1, 5])
def test_a_mark_whose_confirmation_got_lost_is_counted_and_told_once(network, ok_app, monkeypatch, number):
    monkeypatch.setattr("django_socialgrants.refreshing.committed.time.sleep", lambda seconds: None)
    network.on("/ok/token", invalid_grant)
    tokens = store_due(ok_app, number)
    wrapper = losing_confirmations("needs_login")
    connection.execute_wrappers.append(wrapper)
    try:
        with heard(signals.needs_login) as told:
            report = run(workers=1)
    finally:
        connection.execute_wrappers.remove(wrapper)
    assert counts(report) == (number, 0, number, 0, 0)
    assert sorted(told) == [token.pk for token in tokens]


def test_rows_of_a_batch_are_written_in_the_order_of_their_keys(network, ok_app):
    """As everybody locks them who changes several tokens at once, so that nobody ends in a deadlock."""
    tokens = store_due(ok_app, 6)
    pks = [token.pk for token in tokens]
    turn = {token.uid: Event() for token in tokens}
    turn[tokens[-1].uid].set()
    good, seen = TokenEndpoint(), []

    def last_first(request):
        uid = request.params["refresh_token"].split("-")[1]
        turn[uid].wait(10)
        good(request)
        place = [token.uid for token in tokens].index(uid)
        turn[tokens[place - 1].uid].set()

    def note(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and "access_token" in sql:
            seen.append([row[-6] for row in params] if many else [params[-6]])
        return execute(sql, params, many, context)

    wait = workers.Workers.wait

    def wait_for_all(self):
        while len(self.results) < 6:
            wait(self)

    network.on("/ok/token", last_first)
    workers.Workers.wait = wait_for_all
    try:
        with connection.execute_wrapper(note):
            assert counts(run(workers=6)) == (6, 6, 0, 0, 0)
    finally:
        workers.Workers.wait = wait
    assert seen == [pks]


# --- networks that take a second presentation for theft ----------------------------------------------------------


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(FakeMailRu, "reuse_is_fatal", True)


def test_a_lost_answer_is_not_asked_for_again_while_the_access_token_works(network, strict, mailru_app):
    network.on("/mailru/token", cut)
    [token] = store_due(mailru_app)
    assert counts(run()) == (1, 0, 0, 1, 0)
    now = row(token)
    assert (now.reason, now.next_refresh_at) == ("outcome_unknown", token.expires_at)
    make_due_again(token)
    assert counts(run()) == (1, 0, 0, 0, 1)
    assert len(network.calls) == 1
    assert (row(token).state, row(token).next_refresh_at) == ("active", token.expires_at)


@pytest.mark.parametrize(
    ("behaviour", "state", "reason"),
    [
        (TokenEndpoint(rotates=True), "active", ""),
        (cut, "needs_login", "ambiguous_rotation"),
        (invalid_grant, "needs_login", "ambiguous_rotation"),
        (out_of_order, "active", "outcome_unknown"),
    ],
    ids=["accepted", "lost again", "refused", "out of order"],
)
def test_it_is_asked_for_once_more_when_the_access_token_has_expired(
    network, strict, mailru_app, behaviour, state, reason
):
    network.on("/mailru/token", behaviour)
    [token] = store_due(
        mailru_app, expires_at=NOW() - timedelta(seconds=5), reason="outcome_unknown", failures=1
    )
    run()
    assert len(network.calls) == 1
    assert (row(token).state, row(token).reason) == (state, reason)


def test_a_first_request_for_an_expired_token_is_not_repeated_at_once(network, strict, mailru_app):
    network.on("/mailru/token", one_after_the_other(cut, TokenEndpoint(rotates=True)))
    [token] = store_due(mailru_app, expires_at=NOW() - timedelta(seconds=5))
    assert counts(run()) == (1, 0, 0, 1, 0)
    assert len(network.calls) == 1
    make_due_again(token)
    assert counts(run()) == (1, 1, 0, 0, 0)


def test_a_visitor_has_the_valid_token_and_later_the_one_repetition(network, strict, mailru_app):
    user = User.objects.create(username="anna")
    token = stale(user, mailru_app)
    network.on("/mailru/token", cut)
    for _ in range(3):
        call(user, "mailru")
    assert requests_of(network, "mailru") == ["token", "api", "api", "api"]
    UserToken.objects.update(expires_at=NOW() - timedelta(seconds=1))
    assert fails(user, NeedsLogin, "mailru").reason == "ambiguous_rotation"
    assert requests_of(network, "mailru")[4:] == ["token"]
    assert is_dead(token, "ambiguous_rotation")


def test_a_token_that_the_network_no_longer_accepts_does_not_wait_for_its_expiry(network, strict, mailru_app):
    user = User.objects.create(username="anna")
    granted_token(user, mailru_app, reason="outcome_unknown", failures=1)
    session_expired = answer({"error": {"error_code": 102, "error_msg": "session expired"}})
    network.on("/mailru/api", one_after_the_other(session_expired, answer([{}])))
    call(user, "mailru")
    assert requests_of(network, "mailru") == ["api", "token", "api"]
