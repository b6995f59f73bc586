"""Tokens in the admin: looked at by many, refreshed and forgotten by some, written by nobody."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db.models import F
from django.test import Client
from django.utils import timezone

from django_socialgrants import signals
from django_socialgrants.administration import refreshing
from django_socialgrants.exceptions import NeedsLogin
from django_socialgrants.flows import refresh as flow
from django_socialgrants.flows.refresh import mark_needs_login
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from tests.conftest import ok_token
from tests.journey import token_of
from tests.network import answer
from tests.test_admin_credentials import staff, text_of

LIST = "/admin/socialgrants/usertoken/"
ACTIONS = ("refresh_now", "mark_as_needs_login", "delete_selected")


def detail_url(token):
    return f"{LIST}{token.pk}/change/"


def delete_url(token):
    return f"{LIST}{token.pk}/delete/"


def do(client, action, tokens, **fields):
    """Choose an action for some tokens, and see the page that comes of it."""
    data = {"action": action, "_selected_action": [token.pk for token in tokens]} | fields
    return client.post(LIST, data, follow=True)


def told(response):
    return [str(message) for message in response.context["messages"]]


@pytest.fixture
def visitor(db):
    """Somebody of the public, without a password."""
    user = get_user_model().objects.create_user("ok_visitor", first_name="Иван")
    user.set_unusable_password()
    user.save()
    return user


@pytest.fixture
def token(ok_app, visitor):
    soon = timezone.now() + timedelta(minutes=10)
    return token_of(visitor, ok_app, refresh_token="refresh-before", expires_at=soon)


@pytest.fixture
def heard():
    """The signals that were sent, with the state of the token then."""
    found = []
    receivers = {}
    for name in ("refreshed", "needs_login", "disconnected"):
        receivers[name] = lambda token, name=name, **kwargs: found.append((name, token.pk, token.reason))
        getattr(signals, name).connect(receivers[name])
    yield found
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


# --- looking -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "words"), [("south", "Gates, through South gate"), ("", "Gates"), ("closed", "Gates")]
)
def test_the_way_in_is_told_and_the_device_is_not(admin_client, visitor, settings, way, words):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.test_validation.Gates"]
    gates = ProviderCredentials.objects.create(name="gates", provider="gates", client_id="7")
    token = token_of(visitor, gates, way=way, device_id="MARKER-DEVICE")
    page = admin_client.get(detail_url(token))
    assert f"Way in: {words} " in text_of(page)
    assert "MARKER" not in page.content.decode()


def test_nobody_writes_a_token(admin_client, token):
    before = UserToken.objects.values().get()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    page = admin_client.get(detail_url(token))
    assert page.status_code == 200
    assert '<input type="text"' not in page.content.decode().split('id="usertoken_form"')[1]
    assert admin_client.post(detail_url(token), {"uid": "7", "state": "needs_login"}).status_code == 403
    assert UserToken.objects.values().get() == before


def test_a_token_shows_what_is_known_of_it(admin_client, token):
    UserToken.objects.update(state="needs_login", reason="invalid_grant", profile={"name": "Иван Петров"})
    page = text_of(admin_client.get(detail_url(token)))
    for words in ("ok_visitor", "Иван Петров", "the network refused the refresh token", "needs login"):
        assert words in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state__exact=active", ["expired", "soon", "later", "never"]),
        ("state__exact=needs_login", ["dead"]),
        ("reason=invalid_grant", ["dead"]),
        ("expiry=expired", ["expired", "dead"]),
        ("expiry=day", ["soon"]),
        ("expiry=later", ["later"]),
        ("expiry=never", ["never"]),
        ("q=10", ["expired"]),
        ("q=ok_vis", ["expired", "soon", "later", "never", "dead"]),
        ("q=nobody", []),
        ("reason=nonsense", ["expired", "soon", "later", "never", "dead"]),
        ("expiry=nonsense", ["expired", "soon", "later", "never", "dead"]),
    ],
)
def test_tokens_are_found_by_what_is_known_of_them(admin_client, ok_app, visitor, query, found):
    now = timezone.now()
    ends = {"expired": -1, "soon": 23, "later": 25, "never": None, "dead": -1}
    for number, (name, hours) in enumerate(ends.items(), start=10):
        dead = {"state": "needs_login", "reason": "invalid_grant"} if name == "dead" else {}
        expires = None if hours is None else now + timedelta(hours=hours)
        token_of(visitor, ok_app, uid=str(number), token_type=name, expires_at=expires, **dead)
    page = admin_client.get(f"{LIST}?{query}")
    assert sorted(token.token_type for token in page.context["cl"].queryset) == sorted(found)


def test_tokens_are_found_by_application(admin_client, token, other_ok_app, visitor):
    other = token_of(visitor, other_ok_app)
    page = admin_client.get(f"{LIST}?credentials__id__exact={other_ok_app.pk}")
    assert list(page.context["cl"].queryset) == [other]


def test_a_list_of_many_tokens_takes_as_many_queries_as_one_of_few(
    admin_client, ok_app, visitor, django_assert_max_num_queries
):
    for number in range(100):
        token_of(visitor, ok_app, uid=str(number))
    with django_assert_max_num_queries(8):
        admin_client.get(LIST)


@pytest.mark.parametrize("providers", [["tests.fakes.FakeMailRu"], ["tests.nowhere.Network"]])
def test_tokens_of_a_network_that_is_gone_break_no_page(admin_client, token, settings, providers):
    settings.SOCIALGRANTS_PROVIDERS = providers
    for url in (LIST, detail_url(token), delete_url(token)):
        assert admin_client.get(url).status_code == 200
    assert admin_client.post(delete_url(token), {"post": "yes"}).status_code == 302
    assert not UserToken.objects.exists()


@pytest.mark.parametrize("query", ["access_token=x", "access_token__startswith=v1", "refresh_token__gt=v1"])
def test_secrets_can_not_be_asked_for(admin_client, token, query):
    assert admin_client.get(f"{LIST}?{query}")["Location"] == f"{LIST}?e=1"


def test_every_reason_that_has_words_can_happen(request):
    root = request.config.rootpath / "django_socialgrants"
    rooms = [*root.glob("flows/*.py"), *root.glob("refreshing/*.py")]
    source = "".join(path.read_text() for path in rooms)
    ours = {*UserToken.Reason.names, *ApplicationHealth.Reason.names} - {"MARKED_BY_ADMIN"}
    assert [name for name in sorted(ours) if f"Reason.{name}" not in source] == []


# --- refreshing --------------------------------------------------------------------------------------------------


def test_a_token_is_refreshed_now(admin_client, network, token, heard):
    network.on("/ok/token", answer(ok_token(access_token="token-after")))
    assert told(do(admin_client, "refresh_now", [token])) == ["1 token was refreshed."]
    token.refresh_from_db()
    assert token.access_token.reveal() == "token-after"
    assert heard == [("refreshed", token.pk, "")]
    assert LogEntry.objects.get().get_change_message() == "Refreshed."


def test_each_fate_is_counted(admin_client, network, ok_app, other_ok_app, visitor, token):
    dead = token_of(visitor, ok_app, uid="1", refresh_token="x", state="needs_login", reason="invalid_grant")
    fixed = token_of(visitor, ok_app, uid="2")
    revoked = token_of(visitor, ok_app, uid="3", refresh_token="revoked")
    paused = token_of(visitor, other_ok_app, uid="4", refresh_token="y")
    until = timezone.now() + timedelta(hours=1)
    ApplicationHealth.objects.create(
        credentials=other_ok_app, failures=10, paused_until=until, reason="outage"
    )

    def behave(call):
        refused = call.params["refresh_token"] == "revoked"
        answer({"error": "invalid_grant"} if refused else ok_token())(call)

    network.on("/ok/token", behave)
    assert told(do(admin_client, "refresh_now", [dead, fixed, revoked, paused, token])) == [
        "1 token was refreshed.",
        "2 tokens are dead: their users have to log in again.",
        "1 token can't be refreshed without its user, and was left as it is.",
        "1 token could not be refreshed: refreshes for 'ok-2' are paused",
    ]
    fixed.refresh_from_db()
    assert fixed.state == "active"
    assert len(network.calls) == 2


@pytest.mark.parametrize("trouble", ["unavailable", "nonsense", "no key", "no network", "bug"])
def test_no_trouble_ends_in_an_error_page(admin_client, network, token, settings, monkeypatch, trouble):
    if trouble == "unavailable":
        network.on("/ok/token", answer(b"", status=503))
    elif trouble == "nonsense":
        network.on("/ok/token", answer(b"<html>"))
    elif trouble == "no key":
        settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["A" * 43 + "="]
    elif trouble == "no network":
        settings.SOCIALGRANTS_PROVIDERS = ["tests.nowhere.Network"]
    else:
        monkeypatch.setattr(refreshing, "renewed", lambda token: 1 // 0)
    page = do(admin_client, "refresh_now", [token])
    assert page.status_code == 200
    [message] = told(page)
    assert message.startswith("1 token could not be refreshed: ")
    assert "refresh-before" not in page.content.decode()
    assert UserToken.objects.get().state == "active"


def test_a_web_request_takes_only_so_many(admin_client, network, ok_app, visitor, monkeypatch):
    monkeypatch.setattr(refreshing, "MOST", 2)
    monkeypatch.setattr("django_socialgrants.administration.tokens.MOST", 2)
    tokens = [token_of(visitor, ok_app, uid=str(number), refresh_token="x") for number in range(3)]
    [message] = told(do(admin_client, "refresh_now", tokens))
    assert "at most 2 tokens" in message
    assert "manage.py refresh_tokens" in message
    assert network.calls == []


def test_a_web_request_takes_only_so_long(admin_client, network, ok_app, visitor, settings, monkeypatch):
    tokens = [token_of(visitor, ok_app, uid=str(number), refresh_token="x") for number in range(3)]
    settings.SOCIALGRANTS_TIMEOUT = 15
    clock = iter([0, 14, 16, 17])
    monkeypatch.setattr(refreshing, "monotonic", lambda: next(clock))
    assert told(do(admin_client, "refresh_now", tokens)) == [
        "1 token was refreshed.",
        "Time was up before 2 tokens. Try again, or run: manage.py refresh_tokens",
    ]
    assert len(network.calls) == 1


# --- marking -----------------------------------------------------------------------------------------------------


def test_a_token_is_marked_and_its_user_has_to_log_in(admin_client, token, heard):
    page = do(admin_client, "mark_as_needs_login", [token])
    assert told(page) == ["1 token was marked: its user has to log in again."]
    token.refresh_from_db()
    assert (token.state, token.reason, token.next_refresh_at) == ("needs_login", "marked_by_admin", None)
    assert heard == [("needs_login", token.pk, "marked_by_admin")]
    assert LogEntry.objects.get().get_change_message() == "Marked as needing a login."


def test_a_dead_token_keeps_its_reason(admin_client, token, heard):
    UserToken.objects.update(state="needs_login", reason="invalid_grant")
    assert told(do(admin_client, "mark_as_needs_login", [token])) == [
        "0 tokens were marked: their users have to log in again."
    ]
    assert UserToken.objects.get().reason == "invalid_grant"
    assert heard == []


def test_a_refresh_that_is_under_way_does_not_undo_the_mark(admin_client, network, token, heard, monkeypatch):
    carry_out = flow.carry_out

    def interrupted(renewal, **options):
        result = carry_out(renewal)
        do(admin_client, "mark_as_needs_login", [token])
        return result

    monkeypatch.setattr(flow, "carry_out", interrupted)
    with pytest.raises(NeedsLogin):
        flow.renewed(UserToken.objects.with_time().get())
    token.refresh_from_db()
    assert (token.state, token.reason) == ("needs_login", "marked_by_admin")
    assert token.access_token.reveal() == "token-before"
    assert [name for name, *_ in heard] == ["needs_login"]


def test_a_token_that_was_granted_anew_meanwhile_is_newer_than_the_mark(token):
    seen = UserToken.objects.with_time().get()
    UserToken.objects.update(generation=F("generation") + 1)
    assert not mark_needs_login(seen, "marked_by_admin")
    assert UserToken.objects.get().state == "active"


# --- disconnecting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["page", "action"])
def test_disconnecting_asks_first_and_warns_of_locking_somebody_out(
    admin_client, token, heard, way, django_capture_on_commit_callbacks
):
    warning = "This is the only way to log in of one user, who has no password: ok_visitor."
    ask = {
        "page": lambda: admin_client.get(delete_url(token)),
        "action": lambda: do(admin_client, "delete_selected", [token]),
    }
    asked = ask[way]()
    assert told(asked) == [warning]
    assert warning in text_of(asked)
    assert UserToken.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        if way == "page":
            done = admin_client.post(delete_url(token), {"post": "yes"}, follow=True)
        else:
            done = do(admin_client, "delete_selected", [token], post="yes")
    assert warning not in told(done)
    assert not UserToken.objects.exists()
    assert heard == [("disconnected", token.pk, "")]
    assert LogEntry.objects.get().is_deletion()


@pytest.mark.parametrize("other_way", ["password", "account"])
def test_there_is_no_warning_where_another_way_is_left(admin_client, token, visitor, mailru_app, other_way):
    if other_way == "password":
        visitor.set_password("x")
        visitor.save()
    else:
        token_of(visitor, mailru_app)
    assert told(admin_client.get(delete_url(token))) == []


def test_all_accounts_of_a_user_at_once_are_a_lock_out(admin_client, token, visitor, mailru_app):
    other = token_of(visitor, mailru_app)
    assert "ok_visitor" in told(do(admin_client, "delete_selected", [token, other]))[0]


def test_users_can_still_be_deleted(admin_client, token, visitor):
    url = f"/admin/auth/user/{visitor.pk}/delete/"
    assert admin_client.get(url).status_code == 200
    assert admin_client.post(url, {"post": "yes"}).status_code == 302
    assert not UserToken.objects.exists()


# --- permissions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        (["view_usertoken"], []),
        (["view_usertoken", "change_usertoken"], ["refresh_now", "mark_as_needs_login"]),
        (["view_usertoken", "delete_usertoken"], ["delete_selected"]),
    ],
)
def test_actions_take_permissions(
    network, token, heard, permissions, allowed, django_capture_on_commit_callbacks
):
    client = staff(*permissions)
    offered = client.get(LIST).content.decode()
    assert [action for action in ACTIONS if f'value="{action}"' in offered] == allowed
    for action in ACTIONS:
        if action not in allowed:
            with django_capture_on_commit_callbacks(execute=True):
                do(client, action, [token], post="yes")
    if "delete_selected" not in allowed:
        assert client.post(delete_url(token), {"post": "yes"}).status_code == 403
    left = UserToken.objects.get()
    assert (left.state, left.access_token.reveal()) == ("active", "token-before")
    assert network.calls == []
    assert heard == []


def test_the_names_of_actions_say_what_they_do(admin_client, token):
    page = text_of(admin_client.get(LIST))
    for words in (
        "Disconnect selected user tokens",
        "Refresh selected user tokens now",
        "Mark selected user tokens as needing a login",
    ):
        assert words in page


def test_who_is_not_staff_sees_nothing(client, token, visitor):
    client.force_login(visitor, backend="django.contrib.auth.backends.ModelBackend")
    for url in (LIST, detail_url(token), delete_url(token)):
        assert client.get(url).status_code == 302
    assert Client().post(LIST, {"action": "refresh_now"}).status_code == 302
