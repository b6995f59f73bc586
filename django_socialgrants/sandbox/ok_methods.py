"""Methods of OK's REST API: https://apiok.ru/en/dev/methods/rest/.

Guesses: what the auth.* methods and users.setStatus answer.
"""

from collections.abc import Mapping
from typing import Any

from .people import PEOPLE
from .rest import Call, Fault, Method

_PEOPLE = PEOPLE["ok"]
_MOST_UIDS = 100


def _get_current_user(call: Call) -> object:
    profile = _PEOPLE[call.uid].profile
    hidden = set() if "GET_EMAIL" in call.scopes else {"email"}
    return _selected(profile, call.listed("fields") or list(profile), hidden)


def _get_logged_in_user(call: Call) -> object:
    return call.uid


def _get_info(call: Call) -> object:
    uids = call.listed("uids")
    if len(uids) > _MOST_UIDS:
        raise Fault(100, f"PARAM : More than {_MOST_UIDS} uids")
    known = [_PEOPLE[uid].profile for uid in uids if uid in _PEOPLE]
    return [_selected(profile, call.listed("fields"), {"email"}) for profile in known]


def _get_friends(call: Call) -> object:
    return list(_PEOPLE[call.uid].friends)


def _done(call: Call) -> object:
    return True


def _touch_session(call: Call) -> object:
    """Long sessions only: https://apiok.ru/en/ext/oauth/permissions"""
    if call.session and "LONG_ACCESS_TOKEN" in call.scopes:
        call.session.prolong()
    return True


def _expire_session(call: Call) -> object:
    """The access token is dead from now on; the refresh token, if any, is not."""
    return call.session is not None and call.session.retire()


def _selected(profile: Mapping[str, Any], fields: list[str], hidden: set[str]) -> dict[str, Any]:
    """`uid` and the fields asked for; those which are hidden or not there are left out without a word."""
    shown = {"uid", *fields} - hidden
    return {name: value for name, value in profile.items() if name in shown}


METHODS: Mapping[str, Method] = {
    "auth.expireSession": Method(_expire_session),
    "auth.touchSession": Method(_touch_session),
    "friends.get": Method(_get_friends, scope="VALUABLE_ACCESS"),
    "users.getCurrentUser": Method(_get_current_user),
    "users.getInfo": Method(
        _get_info, scope="VALUABLE_ACCESS", sessionless=True, required=("uids", "fields")
    ),
    "users.getLoggedInUser": Method(_get_logged_in_user),
    "users.setStatus": Method(_done, scope="VALUABLE_ACCESS", required=("status",)),
}
