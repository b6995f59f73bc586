"""Refreshing at VK ID, where presenting a refresh token twice ends everything that came of it."""

from datetime import timedelta

import pytest

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import NeedsLogin, PermissionDenied, ProviderUnavailable
from django_socialgrants.models import UserToken
from tests.due import NOW, counts, end_pauses, make_due_again, row, run, store_due
from tests.network import answer
from tests.test_refresh_failures import cut, one_after_the_other

pytestmark = pytest.mark.django_db


def refreshed(call):
    answer(
        {
            "access_token": "vk2.a.access-1",
            "refresh_token": "vk2.a.refresh-1",
            "expires_in": 3600,
            "user_id": int(uid_of(call)),
            "state": call.params["state"],
        }
    )(call)


def uid_of(call):
    return call.params["refresh_token"].split("-")[1]


def refused(error, description):
    return answer({"error": error, "error_description": description})


@pytest.fixture
def network(network):
    network.on("/vkid/token", refreshed)
    network.on("/vkid/api/users.get", answer({"response": [{"id": 1}]}))
    return network


@pytest.fixture
def token(network, vkid_app):
    [token] = store_due(vkid_app, device_id="device-1")
    return token


def presented(network):
    return len(network.calls_to("/vkid/token"))


def expire(token):
    """As if the life of its access token was over."""
    UserToken.objects.filter(pk=token.pk).update(expires_at=NOW() - timedelta(seconds=1))
    make_due_again(token)


def call(token):
    return SocialAPI(token.user, "vkid", uid=token.uid).users.get()


def test_a_public_application_refreshes_with_the_device_and_a_new_state_each_time(network, token):
    for number in (1, 2):
        assert counts(run()) == (1, 1, 0, 0, 0)
        UserToken.objects.update(refreshed_at=None, refresh_token=token.refresh_token)
        make_due_again(token)
        assert row(token).device_id.reveal() == "device-1"
        assert presented(network) == number
    first, second = [dict(call.params) for call in network.calls_to("/vkid/token")]
    assert len(first["state"]) == len(second["state"]) == 43
    assert first.pop("state") != second.pop("state")
    assert first == {
        "grant_type": "refresh_token",
        "refresh_token": f"refresh-{token.uid}-0",
        "client_id": "51000001",
        "device_id": "device-1",
    }
    assert row(token).access_token == "vk2.a.access-1"


@pytest.mark.parametrize("lost", [cut, answer(b'{"access_token": "vk2.a.acc')], ids=["cut", "nonsense"])
def test_after_a_lost_answer_nothing_is_presented_again_before_the_access_token_ends(network, token, lost):
    network.on("/vkid/token", lost)
    assert counts(run()) == (1, 0, 0, 1, 0)
    assert presented(network) == 1
    assert row(token).next_refresh_at >= token.expires_at
    for _again in range(3):
        make_due_again(token)
        run()
        assert call(token) == [{"id": 1}]
    assert presented(network) == 1
    assert row(token).state == "active"


@pytest.mark.parametrize("door", ["run", "call"])
def test_a_session_that_is_over_early_may_be_presented_once_more(network, token, door):
    network.on("/vkid/token", one_after_the_other(cut, refreshed))
    run()
    expire(token)
    if door == "run":
        assert counts(run()) == (1, 1, 0, 0, 0)
    else:
        assert call(token) == [{"id": 1}]
    assert presented(network) == 2
    assert row(token).access_token == "vk2.a.access-1"


def test_when_the_second_answer_is_lost_as_well_only_a_login_helps(network, token):
    network.on("/vkid/token", cut)
    for _again in range(4):
        run()
        expire(token)
    assert presented(network) == 2
    assert (row(token).state, row(token).reason) == ("needs_login", "ambiguous_rotation")
    with pytest.raises(NeedsLogin):
        call(token)


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_request"])
@pytest.mark.parametrize(
    "description",
    [
        "refresh_token is missing or invalid",
        "session is compromised because refresh token has already been applied",
    ],
)
def test_a_dead_refresh_token_needs_a_login_at_once(network, token, error, description):
    network.on("/vkid/token", refused(error, description))
    assert counts(run()) == (1, 0, 1, 0, 0)
    assert (row(token).state, row(token).reason) == ("needs_login", "invalid_grant")
    assert presented(network) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        refused("invalid_request", "client_id is invalid"),
        refused("invalid_client", ""),
        answer(b"<html>Not Found</html>", status=404, content_type="text/html"),
    ],
    ids=["invalid_request", "invalid_client", "404"],
)
def test_a_mistake_in_the_configuration_stops_the_application_and_marks_nothing(network, vkid_app, refusal):
    tokens = store_due(vkid_app, 5, device_id="device-1")
    network.on("/vkid/token", refusal)
    report = run(workers=1)
    assert report.exit_code == 2
    assert presented(network) == 1
    assert {(row(token).state, row(token).reason) for token in tokens} == {("active", "")}


def test_a_network_that_says_slow_down_is_left_alone_for_a_while(network, vkid_app):
    tokens = store_due(vkid_app, 5, device_id="device-1")
    network.on("/vkid/token", refused("slow_down", "too many requests"))
    assert run(workers=1).exit_code == 1
    assert presented(network) == 1
    assert {(row(token).state, row(token).failures) for token in tokens} == {("active", 0)}
    assert run().exit_code == 1
    assert presented(network) == 1
    assert end_pauses()["vkid"] > 0


@pytest.mark.parametrize("status", [200, 403])
def test_a_page_for_people_is_an_outage_after_which_the_token_is_as_good_as_before(network, token, status):
    network.on("/vkid/token", answer(b"<html>Are you a robot?", status=status, content_type="text/html"))
    assert counts(run()) == (1, 0, 0, 1, 0)
    assert (row(token).state, row(token).reason, presented(network)) == ("active", "", 1)
    expire(token)
    with pytest.raises(ProviderUnavailable):
        call(token)


def test_an_answer_that_echoes_another_state_changes_nothing(network, token):
    network.on("/vkid/token", answer({"access_token": "x", "refresh_token": "y", "state": "z" * 43}))
    assert counts(run()) == (1, 0, 0, 1, 0)
    assert row(token).refresh_token == f"refresh-{token.uid}-0"
    assert presented(network) == 1


def test_a_token_used_from_another_address_is_never_refreshed_for_it(network, token):
    moved = "User authorization failed: access_token was given to another ip address."
    network.on("/vkid/api/users.get", answer({"error": {"error_code": 5, "error_msg": moved}}))
    for _again in range(3):
        with pytest.raises(PermissionDenied, match="bound to the IP address"):
            call(token)
    assert presented(network) == 0


def test_a_session_that_the_api_calls_expired_is_refreshed_once(network, token):
    expired = answer({"error": {"error_code": 5, "error_msg": "User authorization failed"}})
    network.on("/vkid/api/users.get", one_after_the_other(expired, answer({"response": [{"id": 1}]})))
    assert call(token) == [{"id": 1}]
    assert presented(network) == 1
