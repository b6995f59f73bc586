"""What an examination finds."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Logging in works, or may work; something is not as it should be."""
    FAILED = "failed"
    """This alone explains why people can't log in."""


@dataclass(frozen=True)
class Finding:
    """One step: what was looked at, what was seen there, and what to do about it. No text holds a secret."""

    step: str
    """A word for scripts: "checks", "migrations", "callbacks", ..."""
    status: Status
    text: str
    fix: str = ""
    application: str = ""
    """The name of the credentials; "" where the site as a whole is concerned."""

    def to_json(self) -> dict[str, str]:
        return asdict(self)
