"""How long a benchmark may take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    rounds: int = 5
    """That count; one more warms up."""
    logins: int = 100
    """In a round."""
    calls: int = 500
    tokens: int = 1000
    rows: int = 1_000_000
    """Of the big table."""
    many: int = 200_000
    """Tokens that are due in the bigger run of those that are about memory and about ties."""
