"""What a network sends back through the browser: taken off the request, and refused unless well-formed.

Taken off, because codes, states and tokens are nothing for a debug page, an error mail or a log that is written
while or after the request is handled.
"""

import re

from django.conf import settings
from django.http import HttpRequest, QueryDict

from django_socialgrants.exceptions import clean_text
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.oauth.values import Secret

_MAX_QUERY = 8 * 1024
_CODE = re.compile(r"[\x21-\x7e]{1,2048}")  # RFC 6749, appendix A.11, without the space
_TOKEN_NAMES = ("access_token", "refresh_token", "session_key", "session_secret_key")
_CSRF = "csrfmiddlewaretoken"


class Answer(QueryDict):
    """The parameters of an answer: a debug page that shows local variables shows their names alone."""

    def __repr__(self) -> str:
        return f"<Answer: {', '.join(map(ascii, self))}>"

    def states(self) -> list[Secret]:
        """Every `state` in it; one is right."""
        return [Secret(state) for state in self.getlist("state")]

    def with_mark(self, name: str) -> str:
        """The same once more as a query string, with a mark in it."""
        again = self.copy()
        again[name] = "1"
        return again.urlencode()


def take_query(request: HttpRequest) -> Answer:
    """The query."""
    query = _answer(request.GET)
    request.GET = QueryDict()
    request.META["QUERY_STRING"] = ""
    for name in ("RAW_URI", "REQUEST_URI"):  # what servers add
        if name in request.META:
            request.META[name] = request.META[name].partition("?")[0]
    return query


def take_body(request: HttpRequest) -> Answer:
    """The posted fragment."""
    form = _answer(request.POST)
    request.POST = QueryDict()
    form.pop(_CSRF, None)
    return form


def _answer(parameters: QueryDict) -> Answer:
    answer = Answer(mutable=True)
    for name, values in parameters.lists():
        answer.setlist(name, values)
    return answer


def refuse_token(query: Answer) -> None:
    """Raise Refusal when a token is in the query: it has no place in a URL."""
    if any(name in query for name in _TOKEN_NAMES) or len(query.urlencode()) > _MAX_QUERY:
        raise Refusal("malformed_callback")


def session_was_withheld(request: HttpRequest, query: Answer) -> bool:
    """Whether the browser kept a session cookie with SameSite=Strict back, as it came from another site.

    A page of our own that leads here once more makes the same request come from this site.
    """
    strict = (settings.SESSION_COOKIE_SAMESITE or "").lower() == "strict"
    return strict and settings.SESSION_COOKIE_NAME not in request.COOKIES and "bounced" not in query


def authorization_code(query: Answer) -> Secret:
    """The code of an authorization response (RFC 6749, section 4.1.2). Raises Refusal, for its errors too."""
    refuse_token(query)
    _check(query, "code")
    code = Secret(query.get("code", ""))
    if not _CODE.fullmatch(code.reveal()):
        raise Refusal("malformed_callback")
    return code


def fragment(form: Answer) -> dict[str, str]:
    """The parameters of an implicit grant's response (section 4.2.2). Raises Refusal, for its errors too."""
    _check(form, "access_token")
    return {name: str(value) for name, value in form.items() if name != "state"}


def _check(answer: Answer, wanted: str) -> None:
    """Refuse what is ambiguous: parameters twice (section 3.1), success and error at once, or neither."""
    doubled = any(len(values) > 1 for _, values in answer.lists())
    broken = any("\0" in value for value in answer.values())
    if doubled or broken or (wanted in answer) == ("error" in answer):
        raise Refusal("malformed_callback")
    if error := answer.get("error"):
        cancelled = error == "access_denied"
        raise Refusal("cancelled" if cancelled else "authorization_error", detail=clean_text(error, limit=50))
