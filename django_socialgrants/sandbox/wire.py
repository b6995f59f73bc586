"""Reading the parameters of a request."""

from django.http import QueryDict


class Repeated(ValueError):
    """A parameter is there more than once, which no two parties read alike (RFC 6749, section 3.1)."""


def single_values(*sources: QueryDict) -> dict[str, str]:
    """The parameters of all sources by name. Raises Repeated."""
    values: dict[str, str] = {}
    for source in sources:
        for name, found in source.lists():
            if name in values or len(found) > 1:
                raise Repeated(name)
            values[name] = str(found[0])
    return values
