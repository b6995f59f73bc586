"""Signatures of REST calls, computed the networks' way: https://apiok.ru/dev/methods and
https://api.mail.ru/docs/guides/restapi/.

Written apart from the package's own signing on purpose: the two check each other. MD5 is the networks'
choice; here it protects made-up people only.
"""

from collections.abc import Mapping
from hashlib import md5

OK_UNSIGNED = frozenset({"sig", "resig", "access_token", "session_key"})
MAILRU_UNSIGNED = frozenset({"sig", "img_file"})


def ok_session_secret(access_token: str, client_secret: str) -> str:
    """The secret of OK's server circuit for calls with a session: only a server can derive it."""
    return _md5(access_token + client_secret)


def ok_signature(params: Mapping[str, str], secret: str) -> str:
    """OK's `sig`. `secret` is the session's own (client circuit), the derived one (server circuit), or, for
    a call without a session, the application's secret key."""
    return _md5(_joined(params, OK_UNSIGNED) + secret)


def ok_auth_signature(uid: str, session_key: str, client_secret: str) -> str:
    """The `auth_sig` with which OK vouches for a session that it hands out itself."""
    return _md5(uid + session_key + client_secret)


def mailru_server_signature(params: Mapping[str, str], secret_key: str) -> str:
    """Mail.Ru's `sig` in the server circuit; `secure=1` is among `params` there."""
    return _md5(_joined(params, MAILRU_UNSIGNED) + secret_key)


def mailru_client_signature(params: Mapping[str, str], uid: str, private_key: str) -> str:
    """Mail.Ru's `sig` in the client circuit: the bare user id stands in front."""
    return _md5(uid + _joined(params, MAILRU_UNSIGNED) + private_key)


def _joined(params: Mapping[str, str], unsigned: frozenset[str]) -> str:
    return "".join(f"{name}={value}" for name, value in sorted(params.items()) if name not in unsigned)


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
