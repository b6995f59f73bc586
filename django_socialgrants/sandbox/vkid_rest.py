"""VK's REST API, which takes VK ID's tokens: https://dev.vk.ru/reference. Nothing is signed.

Guesses: the texts of the errors, and the order of the checks.
"""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_http_methods

from .failures import CALL
from .gate import endpoint
from .models import AccessToken
from .networks import VKID
from .people import PEOPLE
from .rehearsal import rehearsed
from .rest import Call, Fault, Method
from .tokens import Reason
from .web import Repeated, single_values

_PEOPLE = PEOPLE[VKID.id]
_SESSION_EXPIRED = 5, "User authorization failed: invalid access_token"
_OTHER_ADDRESS = 5, "User authorization failed: access_token was given to another ip address"
_REHEARSED = {
    Reason.SESSION_EXPIRED: _SESSION_EXPIRED,
    Reason.ADDRESS: _OTHER_ADDRESS,
    Reason.SLOW_DOWN: (6, "Too many requests per second"),
}


def _rehearsed_refusal(request: HttpRequest, reason: Reason) -> HttpResponse:
    return _refusal(Fault(*_REHEARSED[reason]))


@endpoint
@require_http_methods(["GET", "POST"])
@rehearsed(VKID, lambda request, name: CALL, _rehearsed_refusal)
def call(request: HttpRequest, name: str) -> HttpResponse:
    """/method/<group.name>"""
    try:
        params = single_values(request.GET, request.POST)
        return _json({"response": _run(name, params, request.headers.get("Authorization", ""))})
    except Repeated as error:
        return _refusal(Fault(100, f"One of the parameters specified was missing or invalid: {error}"))
    except Fault as fault:
        return _refusal(fault)


def _run(name: str, params: dict[str, str], authorization: str) -> object:
    if not params.get("v"):
        raise Fault(8, "Invalid request: v (version) is required")
    method = METHODS.get(name)
    if method is None:
        raise Fault(3, "Unknown method passed")
    token = params.get("access_token") or authorization.removeprefix("Bearer ")
    session = AccessToken.objects.filter(application__network=VKID.id, value=token).first() if token else None
    if session is None or session.value != token or not session.alive:
        raise Fault(*_SESSION_EXPIRED)
    if method.scope and method.scope not in session.scopes:
        raise Fault(7, "Permission to perform this action is denied")
    return method.run(Call(session.application, params, session, session.uid))


def _get_users(call: Call) -> object:
    """Always a list; without `user_ids` it holds the user on whose behalf the call is made."""
    uids = call.listed("user_ids") or [call.uid]
    return [_user(uid, call.listed("fields")) for uid in uids if uid in _PEOPLE]


def _user(uid: str, fields: list[str]) -> Mapping[str, object]:
    profile = _PEOPLE[uid].profile
    known = {"sex": profile["sex"], "bdate": profile["birthday"], "photo_200": profile["avatar"]}
    return {
        "id": int(uid),
        "first_name": profile["first_name"],
        "last_name": profile["last_name"],
        **{name: value for name, value in known.items() if name in fields},
    }


def _get_friends(call: Call) -> object:
    friends = _PEOPLE[call.uid].friends
    fields = call.listed("fields")
    items: list[object] = [_user(uid, fields) if fields else int(uid) for uid in friends]
    return {"count": len(items), "items": items}


METHODS: Mapping[str, Method] = {
    "friends.get": Method(_get_friends, scope="friends"),
    "users.get": Method(_get_users),
}


def _json(result: object) -> HttpResponse:
    return JsonResponse(result, safe=False, json_dumps_params={"ensure_ascii": False})


def _refusal(fault: Fault) -> HttpResponse:
    return _json({"error": {"error_code": fault.code, "error_msg": fault.message}})
