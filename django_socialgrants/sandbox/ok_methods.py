"""Methods of OK's REST API: https://apiok.ru/en/dev/methods/rest/.

Guesses: what users.setStatus and the auth.* methods but auth.login answer; that auth.touchSession refuses a
short session. auth.login is known only from its clients; guesses are that not every application may call it,
that its session may do everything except live long, and where the browser check is.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from django_socialgrants.conf import conf

from .logins import LOGINS, Trouble, uid_of
from .networks import OK
from .people import PEOPLE
from .rest import Call, Fault, Method
from .signatures import ok_auth_signature
from .tokens import issue_access

NOT_ALLOWED = 10, "PERMISSION_DENIED : The application may not log in with passwords"
WRONG_PASSWORD = 401, "AUTH_LOGIN : INVALID_CREDENTIALS"

_TROUBLES: Mapping[Trouble, tuple[int, str, str | None]] = {
    Trouble.CAPTCHA: (402, "AUTH_LOGIN_CAPTCHA : Captcha required", None),
    Trouble.BROWSER_CHECK: (
        403,
        "AUTH_LOGIN_WEB_HUMAN_CHECK : Verification required",
        "https://example.com/socialgrants-sandbox/verification",
    ),
    Trouble.BLOCKED: (2002, "USER_IS_BLOCKED : User is blocked", None),
    Trouble.DELETED: (2004, "USER_IS_DELETED : User is deleted", None),
}
_PASSWORD_SCOPE = " ".join(scope for scope in OK.scopes if scope not in OK.long_access_lifetimes)
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


def _log_in(call: Call) -> object:
    """A session with a secret of its own, and no refresh token."""
    if not call.application.password_enabled:
        raise Fault(*NOT_ALLOWED)
    user_name = call.params["user_name"]
    login = LOGINS[OK.id].get(user_name)
    if login and login.trouble:
        raise Fault(*_TROUBLES[login.trouble])
    uid = uid_of(OK, user_name, call.params["password"])
    if uid is None:
        raise Fault(*WRONG_PASSWORD)
    session = issue_access(call.application, uid, _PASSWORD_SCOPE, session_secret=secrets.token_hex(16))
    return {
        "uid": uid,
        "session_key": session.value,
        "session_secret_key": session.session_secret,
        "auth_token": secrets.token_hex(16),
        "api_server": f"{(conf.SANDBOX_URL or '').rstrip('/')}/ok/",
        "auth_sig": ok_auth_signature(uid, session.value, call.application.client_secret),
        "auth_hash": secrets.token_hex(8),
        "activated_profile": True,
    }


def _touch_session(call: Call) -> object:
    """Long sessions only: https://apiok.ru/en/ext/oauth/permissions"""
    if call.session:
        call.session.prolong()
    return True


def _expire_session(call: Call) -> object:
    """Ends the access token, and leaves the refresh token, if there is one."""
    return call.session is not None and call.session.retire()


def _selected(profile: Mapping[str, Any], fields: list[str], hidden: set[str]) -> dict[str, Any]:
    """`uid` and the fields asked for; hidden or missing ones are silently left out."""
    shown = {"uid", *fields} - hidden
    return {name: value for name, value in profile.items() if name in shown}


METHODS: Mapping[str, Method] = {
    "auth.expireSession": Method(_expire_session),
    "auth.login": Method(_log_in, login=True, sessionless=True, required=("user_name", "password")),
    "auth.touchSession": Method(_touch_session, scope="LONG_ACCESS_TOKEN"),
    "friends.get": Method(_get_friends, scope="VALUABLE_ACCESS"),
    "users.getCurrentUser": Method(_get_current_user),
    "users.getInfo": Method(
        _get_info, scope="VALUABLE_ACCESS", sessionless=True, required=("uids", "fields")
    ),
    "users.getLoggedInUser": Method(_get_logged_in_user),
    "users.setStatus": Method(_done, scope="VALUABLE_ACCESS", required=("status",)),
}
