"""What the REST APIs of the networks have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .models import AccessToken, Application


class Fault(Exception):
    """The network's API refuses a call, with one of its numbers."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True)
class Call:
    """A call whose signature was right."""

    application: Application
    params: Mapping[str, str]
    session: AccessToken | None
    uid: str
    """On whose behalf: the owner of the session; "" without one."""

    @property
    def scopes(self) -> frozenset[str]:
        return self.session.scopes if self.session else frozenset()

    def listed(self, name: str) -> list[str]:
        """The values of a comma-separated parameter; an empty list if it is absent."""
        return [value.strip() for value in self.params.get(name, "").split(",") if value.strip()]


@dataclass(frozen=True)
class Method:
    """A method of the API and what it takes to call it."""

    run: Callable[[Call], object]
    scope: str = ""
    """The permission that a session must have."""
    sessionless: bool = False
    """Whether an application may also call it in its own name."""
    login: bool = False
    """Whether it begins a session with a password: then it may be unsigned, but its address must be bare."""
    required: tuple[str, ...] = ()
    """Parameters without which it can't be called."""
