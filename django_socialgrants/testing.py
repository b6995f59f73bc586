"""Aids for a site's own tests: signed calls are answered without any network.

    with FakeNetwork() as network:
        grant(user, "ok", scope="VALUABLE_ACCESS")
        network.answers("friends.get", ["1", "2"])
        client.get("/my-friends/")
        assert network.calls == [Call("ok", "friends.get", {"fields": "uid,name"})]

Up to the socket all is real: tokens, refreshes, values, signatures, errors. Needs the extra `[testing]`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl

from django.contrib.auth.models import User
from django.test import Client
from responses import RequestsMock

from .exceptions import APIError, SessionExpired
from .flows.login import Granted, admit
from .models import ProviderCredentials, UserToken
from .oauth.grants import AuthorizationCodeGrant
from .oauth.parameters import RESERVED
from .oauth.provider import Provider
from .oauth.values import Identity, Token
from .providers.mailru import MailRu
from .providers.vkid import VKID
from .registry import get_provider, providers
from .transport.exchange import USER_AGENT

_NOT_OF_THE_CALLER = RESERVED | {"client_id", "client_secret"}

Reply = tuple[int, dict[str, str], str]  # HTTP status, headers, body
Answer = Callable[[Provider, dict[str, str]], Reply]


class Call(NamedTuple):
    """A signed call; `params` as they go over the wire, without signature, keys and tokens."""

    network: str
    method: str
    params: dict[str, str]


def application(name: str, **fields: Any) -> ProviderCredentials:
    """The application `name`, created if it does not exist, with `fields` changed: `implicit_enabled=True`.

    `provider` is the id of its network, and may be left out where it is the name.
    """
    row = ProviderCredentials.objects.filter(name=name).first()
    if row is None:
        made_up = {field: f"{name}-{field}" for field in ("client_id", "client_secret", "client_key")}
        row = ProviderCredentials(
            name=name, provider=get_provider(fields.get("provider", name)).id, **made_up
        )
    for field, value in fields.items():
        row._meta.get_field(field)  # raises FieldDoesNotExist
        setattr(row, field, value)
    if fields or row.pk is None:
        row.save()
    return row


def log_in(client: Client, name: str, *, uid: str = "1", scope: str = "", **identity: Any) -> UserToken:
    """Log `client` in as whoever has this `uid` at the network of the application `name`, with a fresh token.

    A user is made for somebody new, as after a login through the button; the token's `user` is who logged in.
    `identity` are further fields of `Identity`: `email="anna@example.com"`. Nothing is asked of the network.
    """
    row = application(name)
    token = _made_up_token(scope or row.scope, 3600)
    granted = Granted(row, token, Identity(uid, **identity), AuthorizationCodeGrant.grant_type)
    user, stored = admit(None, granted)
    client.force_login(user)
    return stored


def grant(
    user: User, name: str, *, uid: str = "", scope: str = "", expires_in: int = 3600, **fields: Any
) -> UserToken:
    """A token that `user` grants to the application `name`, which is made if it is the id of a network.

    It has its application's scope unless you say more, and lives for `expires_in` seconds: 0 = it has expired.
    `fields` are others of `UserToken`: `refresh_token=""`.
    """
    row = application(name)
    key = {"credentials": row, "uid": uid or str(user.pk)}
    token = UserToken.objects.filter(**key).first() or UserToken(**key)
    granted = _made_up_token(scope or row.scope, expires_in)
    token.apply(token.changes_by_grant(granted, Identity(token.uid), grant_type="authorization_code"))
    for field, value in {"user": user, **fields}.items():
        token._meta.get_field(field)  # raises FieldDoesNotExist
        setattr(token, field, value)
    token.save()
    return token


def _made_up_token(scope: str, expires_in: int) -> Token:
    return Token("access-token", "refresh-token", expires_in, session_secret="session-secret", scope=scope)  # noqa: S106


@dataclass
class _Expected:
    what: str
    at: str | None
    answer: Answer
    happened: bool = False

    def __str__(self) -> str:
        return f"{self.what} at {self.at}" if self.at else self.what


_TOKEN, _ANYTHING = "a token", "anything"  # noqa: S105  # the rest are methods


class FakeNetwork:
    """Every network at once, for the time of a `with` block.

    Of all that is said about a method each happens once, in that order, and the last again and again. What never
    happened fails the test at the end of the block. So does a request that nothing was said about, even if the
    site put up with it: to the site it is a ProviderUnavailable. Refreshes and other token requests succeed unless
    told otherwise. `at` limits what is said to one network, named by its id.

    `calls` are the signed calls so far, `token_requests` the other requests, as (network, grant_type). What else
    the site fetches with `requests` goes nowhere either; `responses`, a `RequestsMock`, is there to answer it.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.token_requests: list[tuple[str, str]] = []
        self.responses = RequestsMock(assert_all_requests_are_fired=False)
        self._expected = [_Expected(_TOKEN, None, lambda provider, _: _token(provider), happened=True)]
        self._failures: list[Exception] = []
        self._one_by_one = Lock()

    def answers(self, method: str, result: Any, *, at: str | None = None) -> None:
        """`method` answers with the JSON of `result`, or of `result(params)`; `params` are those of `Call`.

        An identity or revocation endpoint is a method as well, called by the end of its URL: "user_info".
        """

        def answer(provider: Provider, params: dict[str, str]) -> Reply:
            data = result(params) if callable(result) else result
            is_wrapped = provider.result_name and method not in _other_endpoints(provider).values()
            return _json({provider.result_name: data} if is_wrapped else data)

        self._expect(method, at, answer)

    def refuses(
        self, method: str, error: type[APIError] | int, message: str = "refused", *, at: str | None = None
    ) -> None:
        """`method` fails with `error`, in the words of the network that is asked; or with a code of its own."""

        def refusal(provider: Provider, params: dict[str, str]) -> Reply:
            codes = (error,) if isinstance(error, int) else provider.api_errors.get(error)
            if not codes and error is SessionExpired:  # in the words of RFC 6750
                return 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}, ""
            if not codes:
                raise LookupError(f"{provider.title} has no code that means {error}")
            words = {"error_code": codes[0], "error_msg": message}
            return _json({"error": words} if isinstance(provider, (MailRu, VKID)) else words)

        self._expect(method, at, refusal)

    def answers_token(self, *, at: str | None = None, **fields: Any) -> None:
        """Token requests bring a token that differs in `fields` of the answer from the usual one."""
        self._expect(_TOKEN, at, lambda provider, _: _token(provider, **fields))

    def refuses_token(self, error: str = "invalid_grant", *, at: str | None = None) -> None:
        """Token requests bring an `error` of RFC 6749, section 5.2."""
        self._expect(_TOKEN, at, lambda *_: _json({"error": error}, status=400))

    def is_down(self, *, retry_after: int | None = None, at: str | None = None) -> None:
        """Any request brings HTTP 503: until the end, or else once for a method that more is said about later."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._expect(_ANYTHING, at, lambda *_: (503, headers, ""))

    def __enter__(self) -> Self:
        for method in ("GET", "POST"):
            self.responses.add_callback(method, re.compile(""), self._receive, match=[_is_ours])
        self.responses.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.responses.stop(allow_assert=False)
        if self._failures and (error is None or isinstance(error, (Exception, SystemExit))):
            raise self._failures[0]  # `error`, to which it probably led, is its context
        missed = [str(expected) for expected in self._expected if not expected.happened]
        if missed and error is None:
            raise AssertionError(f"expected, but never asked for: {', '.join(missed)}")

    def __repr__(self) -> str:
        return f"<FakeNetwork, {len(self.calls)} calls>"

    def _expect(self, what: str, at: str | None, answer: Answer) -> None:
        self._expected.append(_Expected(what, at and get_provider(at).id, answer))

    def _receive(self, request: Any) -> Reply:
        """The answer to a request. An error is a broken connection to the site, so it is kept as well."""
        try:
            return self._answer(request)
        except Exception as error:
            self._failures.append(error)
            raise

    def _answer(self, request: Any) -> Reply:
        url, _, query = request.url.partition("?")
        form = dict(parse_qsl(request.body or query, keep_blank_values=True))
        provider = _provider_at(url)
        what, params = _TOKEN, {}
        if url in provider.token_endpoints.values() and "grant_type" in form:
            self.token_requests.append((provider.id, form["grant_type"]))
        else:
            others = _other_endpoints(provider)
            what = others.get(url) or form.get("method") or url.removeprefix(provider.api_endpoint).strip("/")
            params = {name: value for name, value in form.items() if name not in _NOT_OF_THE_CALLER}
            self.calls.append(Call(provider.id, what, params))
        of_it = [it for it in self._expected if it.what in (what, _ANYTHING) and it.at in (None, provider.id)]
        if not of_it:
            raise AssertionError(f"nobody expected {what} at {provider.id}")
        with self._one_by_one:
            expected = next((it for it in of_it if not it.happened), of_it[-1])
            expected.happened = True
        return expected.answer(provider, params)


def _token(provider: Provider, **fields: Any) -> Reply:
    return _json({"access_token": "access-token-2", "expires_in": provider.default_expires_in} | fields)


def _json(data: Any, *, status: int = 200) -> Reply:
    return status, {}, json.dumps(data, ensure_ascii=False)


def _is_ours(request: Any) -> tuple[bool, str]:
    return request.headers.get("User-Agent") == USER_AGENT, "not a request of django_socialgrants"


def _other_endpoints(provider: Provider) -> dict[str, str]:
    """What is neither a token endpoint nor the API: the name of each by its URL."""
    urls = filter(None, (provider.identity_endpoint, provider.revocation_endpoint))
    return {url: url.rpartition("/")[2] for url in urls}


def _provider_at(url: str) -> Provider:
    for provider in providers().values():
        own = {*provider.token_endpoints.values(), *_other_endpoints(provider)}
        if url in own or f"{url}/".startswith(f"{provider.api_endpoint}/"):
            return provider
    raise AssertionError(f"no network of SOCIALGRANTS_PROVIDERS is at {url}")
