"""User names and passwords, for the password grant. They are made up like their owners, so they are not secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .networks import MAILRU, OK, Network


class Trouble(StrEnum):
    """Why a network refuses a correct password: it asks for something else, or the account is closed."""

    CAPTCHA = "captcha"
    BROWSER_CHECK = "browser check"
    BLOCKED = "blocked"
    DELETED = "deleted"


@dataclass(frozen=True)
class Login:
    user_name: str
    password: str = ""
    uid: str = ""
    trouble: Trouble | None = None
    """What happens whatever the password is."""


def _by_user_name(*logins: Login) -> Mapping[str, Login]:
    return {login.user_name: login for login in logins}


LOGINS: Mapping[str, Mapping[str, Login]] = {
    OK.id: _by_user_name(
        Login("avrora", "made-up-avrora", "999000000101"),
        Login("timofey", "made-up-timofey", "999000000202"),
        Login("maria-luiza", "Д'Пример & 100% + 1=1", "999000000303"),
        Login("+70000000404", "made-up-yolka", "999000000404"),
        Login("incognito", "made-up-incognito", "999000000505"),
        Login("captcha", trouble=Trouble.CAPTCHA),
        Login("browser-check", trouble=Trouble.BROWSER_CHECK),
        Login("blocked", trouble=Trouble.BLOCKED),
        Login("deleted", trouble=Trouble.DELETED),
    ),
    MAILRU.id: _by_user_name(
        Login("glafira@example.org", "made-up-glafira", "18446744073709551601"),
        Login("efrem@example.org", "made-up-efrem", "18446744073709551602"),
        Login("anna@example.org", "О'Пример & 100% + 1=1", "18446744073709551603"),
        Login("prokhor@example.org", "made-up-prokhor", "9000000000000000004"),
        Login("nevidimka@example.org", "made-up-nevidimka", "18446744073709551615"),
        Login("blocked@example.org", trouble=Trouble.BLOCKED),
    ),
}
"""By network and user name. Passwords with odd characters arrive only where nobody strips or mends them."""


def uid_of(network: Network, user_name: str, password: str) -> str | None:
    """The user id of a login; None if name or password are wrong, or the login always fails."""
    login = LOGINS[network.id].get(user_name)
    return login.uid if login and not login.trouble and login.password == password else None
