"""Methods of Mail.Ru's REST API: https://api.mail.ru/docs/reference/rest/.

Guess: what stream.post answers.
"""

from collections.abc import Mapping

from .people import PEOPLE
from .rest import Call, Fault, Method

_PEOPLE = PEOPLE["mailru"]


def _get_info(call: Call) -> object:
    """Always a list; without `uids` it holds the user on whose behalf the call is made."""
    uids = call.listed("uids") or [call.uid]
    if uids == [""]:
        raise Fault(100, "One of the parameters specified is missing or invalid: uids")
    return _profiles(uids, own=call.uid)


def _get_friends(call: Call) -> object:
    """User ids; with ext=1 whole profiles."""
    friends = _PEOPLE[call.uid].friends
    return _profiles(friends, own=call.uid) if call.params.get("ext") == "1" else list(friends)


def _post(call: Call) -> object:
    return {"status": "ok"}


def _profiles(uids: list[str] | tuple[str, ...], *, own: str) -> list[object]:
    """Those who exist. An e-mail address is shown only to its owner."""
    found = [(uid, _PEOPLE[uid].profile) for uid in uids if uid in _PEOPLE]
    return [
        {name: value for name, value in profile.items() if name != "email" or uid == own}
        for uid, profile in found
    ]


METHODS: Mapping[str, Method] = {
    "friends.get": Method(_get_friends),
    "stream.post": Method(_post, scope="stream", required=("user_text",)),
    "users.getInfo": Method(_get_info, sessionless=True),
}
