"""The callback: its URI, which a start names to a network, and the authorization response that comes back to it.

A response is taken off its request, because codes, states and tokens are nothing for a debug page, an error mail
or a log that is written while or after the request is handled.
"""

import json
import re
from functools import lru_cache
from typing import Self
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from django_socialgrants.conf import conf
from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import clean_text
from django_socialgrants.flows import state
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.grants import AuthorizationCodeGrant, Grant, ImplicitGrant
from django_socialgrants.oauth.values import Secret
from django_socialgrants.transport.exchange import is_secure
from django_socialgrants.transport.names import is_loopback

from .pages import origin

_MAX_QUERY = 8 * 1024
_CODE = re.compile(r"[\x21-\x7e]{1,2048}")  # RFC 6749, appendix A.11, without the space
_TOKEN_NAMES = ("access_token", "refresh_token", "session_key", "session_secret_key")
_CSRF = "csrfmiddlewaretoken"


def redirect_uri(request: HttpRequest, name: str, *, flow: str) -> str:
    """Where the network sends the browser back to, for the application of that name and a flow.

    Raises Refusal for an origin that can't be trusted.
    """
    path = reverse(f"socialgrants:{flow}_callback", args=[name])
    if conf.BASE_URL is None:
        uri = request.build_absolute_uri(path)
        if not (settings.DEBUG or uri.startswith("https:") or is_loopback(urlsplit(uri).hostname or "")):
            _warn_of(origin(uri))
        return uri
    if not is_secure(conf.BASE_URL):
        raise Refusal("misconfigured", detail="SOCIALGRANTS_BASE_URL is not an https:// origin")
    return f"{origin(conf.BASE_URL)}{path}"


@lru_cache(maxsize=64)
def _warn_of(insecure: str) -> None:
    """Say it once in each process, for each host."""
    text = "redirect URIs are at %s: for https, set SECURE_PROXY_SSL_HEADER or SOCIALGRANTS_BASE_URL"
    log(Event.INSECURE_REDIRECT, text, insecure, reason="http")


class _Parameters(QueryDict):
    """A debug page that shows local variables, or copies of them, shows their names alone."""

    @classmethod
    def of(cls, taken: QueryDict) -> Self:
        parameters = cls(mutable=True)
        for name, values in taken.lists():
            parameters.setlist(name, values)
        return parameters

    def __repr__(self) -> str:
        return f"<{', '.join(map(ascii, self))}>"

    def check(self, wanted: str) -> None:
        """Refuse what is ambiguous: parameters twice (section 3.1), success and error at once, or neither."""
        doubled = any(len(values) > 1 for _, values in self.lists())
        broken = any("\0" in value for value in self.values())
        if doubled or broken or (wanted in self) == ("error" in self):
            raise Refusal("malformed_callback")
        if error := self.get("error"):
            cancelled = error == "access_denied"
            raise Refusal(
                "cancelled" if cancelled else "authorization_error", detail=clean_text(error, limit=50)
            )


class AuthorizationResponse:
    """What a browser brought back: a query (RFC 6749, section 4.1.2), or a fragment (4.2.2) that was posted."""

    def __init__(self, query: QueryDict, fragment: QueryDict) -> None:
        self._query = _Parameters.of(query)
        self._fragment = _Parameters.of(fragment)
        self._fragment.pop(_CSRF, None)

    @classmethod
    def take(cls, request: HttpRequest) -> Self:
        """The response in `request`, which holds nothing of it afterwards."""
        response = cls(_unpacked(request.GET), request.POST)
        request.GET = request.POST = QueryDict()
        request._body = b""
        request.META["QUERY_STRING"] = ""
        for name in ("RAW_URI", "REQUEST_URI"):  # what servers add
            if name in request.META:
                request.META[name] = request.META[name].partition("?")[0]
        return response

    @property
    def is_bare(self) -> bool:
        """Whether there was no query: then there may be a fragment, of which no server is told."""
        return not self._query

    def refuse_tokens(self) -> None:
        """Raise Refusal when a token is in the query: it has no place in a URL."""
        if any(name in self._query for name in _TOKEN_NAMES) or len(self._query.urlencode()) > _MAX_QUERY:
            raise Refusal("malformed_callback")

    def bounce(self, request: HttpRequest) -> str:
        """The same query for a second try, or "" when there is no need for one.

        The browser may have kept cookies with SameSite=Strict back, as the request came from another site. A page
        of our own that leads here once more makes it come from this one. Raises Refusal for a query that is not
        worth a second try.
        """
        if "bounced" in self._query or not state.may_be_withheld(request):
            return ""
        self.refuse_tokens()
        return f"?{self._query.urlencode()}&bounced=1"

    def accept(self, request: HttpRequest, credentials: ProviderCredentials, *, flow: str) -> state.Attempt:
        """What was started with the one state that is right: before anything else of the response is looked at.

        A fragment whose URL holds a token as well is refused before that. Raises Refusal.
        """
        if flow == "implicit":
            self.refuse_tokens()
        returned = self._fragment if flow == "implicit" else self._query
        return state.accept(request, _states(returned), credentials, flow=flow)

    def grant(self, attempt: state.Attempt, credentials: ProviderCredentials) -> Grant:
        """The grant, once its state is accepted. Raises Refusal, for an error of the network as well."""
        if attempt.flow == "implicit":
            return self._implicit_grant()
        self.refuse_tokens()
        return self._code_grant(attempt, credentials)

    def _code_grant(self, attempt: state.Attempt, credentials: ProviderCredentials) -> AuthorizationCodeGrant:
        [own_state] = _states(self._query)
        self._query.check("code")
        code = Secret(self._query.get("code", ""))
        if not _CODE.fullmatch(code.reveal()):
            raise Refusal("malformed_callback")
        provider = credentials.get_provider()
        beside = {name: Secret(self._query.get(name, "")) for name in provider.callback_fields}
        if not all(_CODE.fullmatch(value.reveal()) for value in beside.values()):
            raise Refusal("malformed_callback", detail="a field beside the code is missing or malformed")
        verifier = state.code_verifier(own_state) if provider.pkce else ""
        return AuthorizationCodeGrant(code, attempt.redirect_uri, verifier, **beside, state=own_state)

    def _implicit_grant(self) -> ImplicitGrant:
        self._fragment.check("access_token")
        return ImplicitGrant.from_fragment(
            {name: str(value) for name, value in self._fragment.items() if name != "state"}
        )


def _unpacked(query: QueryDict) -> QueryDict:
    """The parameters themselves, where VK ID sends all of them as one JSON object named `payload`."""
    if "payload" not in query or "state" in query:
        return query
    try:
        pairs = json.loads(str(query["payload"]), object_pairs_hook=tuple)
        if not isinstance(pairs, tuple) or not all(isinstance(value, (str, int)) for _, value in pairs):
            return query  # which is refused, as it has no state
        unpacked = QueryDict(mutable=True)
        for name, value in pairs:
            unpacked.appendlist(name, str(value))
    except (ValueError, RecursionError):
        return query
    return unpacked or query


def _states(parameters: QueryDict) -> list[Secret]:
    """Every `state` in them; one is right."""
    return [Secret(value) for value in parameters.getlist("state")]
