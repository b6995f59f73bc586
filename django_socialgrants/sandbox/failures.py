"""The failures that can be rehearsed: one table, read by the command for its words and by the views.

Everything that a network does wrong is here; when it does so is in `rehearsal`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import sleep
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from .networks import MAILRU, NETWORKS, VKID, Network, Rotation
from .people import PEOPLE
from .tokens import Reason

CALL = "call"
"""What a request is for: the grant_type of a token request, or this, a REST call."""
GRANTS = frozenset({"authorization_code", "password", "refresh_token"})
EVERYTHING = GRANTS | {CALL}

_INVALID_GRANTS = {
    "authorization_code": Reason.CODE,
    "password": Reason.PASSWORD,
    "refresh_token": Reason.REFRESH_TOKEN,
}


@dataclass(frozen=True)
class Scene:
    """A request in which something is to go wrong, and what its view could do with it."""

    occasion: str
    seconds: int | None
    carry_out: Callable[..., HttpResponse]
    """What the view answers; takes `rotation` for a token request."""
    refuse: Callable[[Reason], HttpResponse]
    """How the view would word a refusal."""


Play = Callable[[Scene], HttpResponseBase]
Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    help: str
    """For `--help`, which is English as Django's part of it is."""
    play: Play
    occasions: frozenset[str] = EVERYTHING
    networks: tuple[Network, ...] = tuple(NETWORKS.values())
    seconds: int | None = None
    """Those of the rehearsal where nobody says how many."""
    most_seconds: int = 0
    """How many seconds one may ask for; 0 = it knows no seconds."""


def _page(status: int, title: str, scene: Scene) -> HttpResponse:
    """What a server in front of the network answers in place of the view."""
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return HttpResponse(page, status=status)


def _rate_limit(scene: Scene) -> HttpResponse:
    response = _page(429, "Too Many Requests", scene)
    if scene.seconds is not None:
        response["Retry-After"] = str(scene.seconds)
    return response


def _slow(scene: Scene) -> HttpResponse:
    response = scene.carry_out()
    sleep(scene.seconds or 0)
    return response


def _cut(scene: Scene) -> HttpResponseBase:
    """Half of the answer, without Content-Length: with it Django's own server would not close the connection."""
    whole = scene.carry_out()

    def half() -> Iterator[bytes]:
        yield whole.content[: len(whole.content) // 2]
        raise ConnectionAbortedError  # servers drop the connection at that

    return StreamingHttpResponse(half(), status=whole.status_code, content_type=whole["Content-Type"])


def _nonsense(scene: Scene) -> HttpResponse:
    scene.carry_out()
    return _page(200, "Welcome", scene)


def _refused(reason: Reason, scene: Scene) -> HttpResponse:
    return scene.refuse(reason)


def _invalid_grant(scene: Scene) -> HttpResponse:
    return scene.refuse(_INVALID_GRANTS[scene.occasion])


def _no_access_token(scene: Scene) -> HttpResponse:
    names = {"access_token", "session_key"}
    return _edited(scene.carry_out(), lambda answer: {key: answer[key] for key in answer if key not in names})


def _no_refresh_token(changes: Answer, scene: Scene) -> HttpResponse:
    return _edited(scene.carry_out(rotation=Rotation.FIXED), lambda answer: {**answer, **changes})


_UIDS = {"x_mailru_vid": (MAILRU, str), "user_id": (VKID, int)}
"""How token answers name their user."""


def _other_identity(scene: Scene) -> HttpResponse:
    def swapped(answer: Answer) -> Answer:
        name = next(name for name in _UIDS if name in answer)
        network, kind = _UIDS[name]
        others = (uid for uid in PEOPLE[network.id] if uid != str(answer[name]))
        return {**answer, name: kind(next(others))}

    return _edited(scene.carry_out(), swapped)


def _edited(response: HttpResponse, edit: Callable[[Answer], Answer]) -> HttpResponse:
    """The token answer as `edit` leaves it; a refusal, for which there is a reason, stays as it is."""
    try:
        answer = json.loads(response.content)
    except ValueError:  # an HTML page
        return response
    if not answer.keys() & {"error", "error_code"}:
        response.content = json.dumps(edit(answer))
    return response


_REFRESH = frozenset({"refresh_token"})

FAILURES: Mapping[str, Failure] = {
    "unavailable": Failure("HTTP 503 with a page", partial(_page, 503, "Service Unavailable")),
    "gateway": Failure("HTTP 502 with a page", partial(_page, 502, "Bad Gateway")),
    "rate-limit": Failure(
        "HTTP 429; with --seconds it says so in Retry-After", _rate_limit, most_seconds=86400
    ),
    "slow": Failure(
        "the request is carried out, its answer comes after --seconds (20)",
        _slow,
        seconds=20,
        most_seconds=120,
    ),
    "cut": Failure("the request is carried out, the connection ends in the middle of its answer", _cut),
    "nonsense": Failure("the request is carried out, its answer is a page with HTTP 200", _nonsense),
    "no-access-token": Failure("the token answer has no access token", _no_access_token, GRANTS),
    "no-refresh-token": Failure(
        "a refresh brings no refresh token, the old one stays valid",
        partial(_no_refresh_token, {}),
        _REFRESH,
    ),
    "null-refresh-token": Failure(
        "a refresh brings null as refresh token, the old one stays valid",
        partial(_no_refresh_token, {"refresh_token": None}),
        _REFRESH,
    ),
    "empty-refresh-token": Failure(
        "a refresh brings an empty refresh token, the old one stays valid",
        partial(_no_refresh_token, {"refresh_token": ""}),
        _REFRESH,
    ),
    "invalid-grant": Failure(
        "every code, password and refresh token is refused, as after a mass revocation",
        _invalid_grant,
        GRANTS,
    ),
    "invalid-client": Failure(
        "the application is refused, as with a wrong secret", partial(_refused, Reason.CLIENT), GRANTS
    ),
    "unauthorized-client": Failure(
        "the application may not use this grant", partial(_refused, Reason.GRANT_NOT_ALLOWED), GRANTS
    ),
    "session-expired": Failure(
        "REST calls say that the session has expired",
        partial(_refused, Reason.SESSION_EXPIRED),
        frozenset({CALL}),
    ),
    "other-identity": Failure(
        "the token answer names somebody else (Mail.Ru, VK ID)",
        _other_identity,
        GRANTS,
        networks=(MAILRU, VKID),  # the token answers of the others name nobody
    ),
    "slow-down": Failure(
        "there are too many requests, which only the body of the answer says (VK ID)",
        partial(_refused, Reason.SLOW_DOWN),
        networks=(VKID,),
    ),
    "other-address": Failure(
        "the token was given to somebody at another IP address (VK ID)",
        partial(_refused, Reason.ADDRESS),
        frozenset({CALL}),
        networks=(VKID,),
    ),
    "wrong-parameter": Failure(
        "a parameter is not known, which is answered with HTTP 404 and a page (VK ID)",
        partial(_refused, Reason.PARAMETER),
        GRANTS,
        networks=(VKID,),
    ),
}
