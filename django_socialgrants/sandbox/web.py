"""Reading requests strictly, and answering them with pages."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from .networks import Network


class Repeated(ValueError):
    """A parameter is there more than once, which is ambiguous (RFC 6749, section 3.1)."""


def single_values(*sources: QueryDict) -> dict[str, str]:
    """The parameters of all sources by name. Raises Repeated."""
    values: dict[str, str] = {}
    for source in sources:
        for name, found in source.lists():
            if name in values or len(found) > 1:
                raise Repeated(name)
            values[name] = str(found[0])
    return values


def html(
    request: HttpRequest, name: str, context: Mapping[str, Any], *, status: int = 200, form_to: str = ""
) -> HttpResponse:
    """A page from a template, with a policy that allows our stylesheet and nothing else.

    `form_to` is the origin that a form's answer redirects to: browsers apply `form-action` to it as well.
    """
    response = render(request, f"socialgrants_sandbox/{name}.html", context, status=status)
    response["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {form_to}".rstrip()
    )
    return response


def error_page(request: HttpRequest, network: Network, message: object, *, status: int = 400) -> HttpResponse:
    """The network's own error page, shown where the redirect_uri can't be trusted."""
    return html(request, "error", {"network": network, "message": message}, status=status)
