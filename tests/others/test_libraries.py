"""aiookru and aiomailru on the sandbox: code, refresh, password, signed calls in both circuits."""

import asyncio
import warnings

import pytest

from django_socialgrants.sandbox.logins import LOGINS
from django_socialgrants.sandbox.models import AccessToken
from tests.sandbox.driver import BACK, FIRST, decide, implicit_session, query_of

from .logins import at_the_sandbox

with warnings.catch_warnings(action="ignore"):  # what they import is up to them
    aiohttp = pytest.importorskip("aiohttp")
    httpx = pytest.importorskip("httpx")
    aiomailru = pytest.importorskip("aiomailru")
    aiookru = pytest.importorskip("aiookru")


@pytest.fixture(autouse=True)
def rerouted(monkeypatch):
    """Both find the sandbox at the addresses of the networks."""
    handle, request_with = httpx.AsyncHTTPTransport.handle_async_request, aiohttp.ClientSession._request

    async def handle_request(transport, request):
        request.url = httpx.URL(at_the_sandbox(str(request.url)))
        request.headers["host"] = request.url.netloc.decode()
        return await handle(transport, request)

    async def send(session, method, url, **options):
        return await request_with(session, method, at_the_sandbox(str(url)), **options)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_request)
    monkeypatch.setattr(aiohttp.ClientSession, "_request", send)


@pytest.fixture
def ok(played):
    return with_redirect(played["ok"])


@pytest.fixture
def mailru(played):
    return with_redirect(played["mailru"])


def with_redirect(application):
    application.redirect_uris.append(BACK)
    application.save()
    return application


def test_aiookru_redeems_a_code_refreshes_and_calls(client, ok):
    code = query_of(decide(client, ok, scope="VALUABLE_ACCESS"))["code"]

    async def go():
        async with aiookru.CodeGrant(ok.client_id, ok.client_secret, BACK, code) as granted:
            pass
        async with aiookru.RefreshGrant(ok.client_id, ok.client_secret, granted.refresh_token) as refreshed:
            pass
        answers = []
        for token in (granted.access_token, refreshed.access_token):
            async with aiookru.API(token, ok.client_key, application_secret_key=ok.client_secret) as api:
                answers += [await api.users.getCurrentUser(fields="uid,name"), await api.friends.get()]
        return granted, refreshed, answers

    granted, refreshed, answers = asyncio.run(go())
    assert granted.access_token != refreshed.access_token
    assert [answers[0]["uid"], answers[2]["uid"]] == [FIRST["ok"], FIRST["ok"]]
    assert answers[1] == answers[3] != []


def test_aiookru_signs_with_the_secret_of_a_session(ok):
    session = implicit_session(ok, "VALUABLE_ACCESS")

    async def go():
        async with aiookru.API(
            session.value, ok.client_key, session_secret_key=session.session_secret
        ) as api:
            return await api.users.getLoggedInUser()

    assert asyncio.run(go()) == FIRST["ok"]


def test_aiookru_is_told_of_a_wrong_secret(ok):
    session = implicit_session(ok)

    async def go():
        async with aiookru.API(session.value, ok.client_key, session_secret_key="wrong") as api:
            return await api.users.getLoggedInUser()

    assert asyncio.run(go())["error_code"] == 104


def test_aiomailru_redeems_a_code_refreshes_and_calls_in_both_circuits(client, mailru):
    code = query_of(decide(client, mailru))["code"]
    keys = {"app_id": mailru.client_id, "private_key": mailru.client_key, "secret_key": mailru.client_secret}

    async def go():
        async with aiomailru.CodeSession(**keys, code=code, redirect_uri=BACK) as granted:
            answers = [await aiomailru.API(granted).users.getInfo()]
        async with aiomailru.RefreshSession(**keys, refresh_token=granted.refresh_token) as refreshed:
            answers.append(await aiomailru.API(refreshed).users.getInfo())
        async with aiomailru.ServerSession(
            mailru.client_id, mailru.client_secret, refreshed.session_key
        ) as server:
            answers.append(await aiomailru.API(server).users.getInfo())
        return granted, refreshed, answers

    granted, refreshed, answers = asyncio.run(go())
    assert granted.session_key != refreshed.session_key
    assert [person["uid"] for [person] in answers] == 3 * [FIRST["mailru"]]


def test_aiomailru_logs_in_with_a_password(mailru):
    login = next(iter(LOGINS["mailru"].values()))
    keys = {"app_id": mailru.client_id, "private_key": mailru.client_key, "secret_key": mailru.client_secret}

    async def go(password):
        session = aiomailru.PasswordSession(**keys, email=login.user_name, passwd=password, scope="stream")
        async with session as granted:
            return await aiomailru.API(granted).users.getInfo()

    [person] = asyncio.run(go(login.password))
    assert person["uid"] == login.uid
    assert AccessToken.objects.get().scope == "stream"


def test_aiomailru_understands_a_refusal(mailru):
    async def go():
        async with aiomailru.ServerSession(
            mailru.client_id, mailru.client_secret, "no-such-session"
        ) as session:
            return await aiomailru.API(session).users.getInfo()

    with pytest.raises(aiomailru.APIError) as refused:
        asyncio.run(go())
    assert refused.value.code == 102
