"""What an application asks for at the authorization endpoint: RFC 6749, sections 4.1.1 and 4.2.1."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

from django.http import QueryDict
from django.utils.translation import gettext as _

from django_socialgrants.exceptions import clean_text

from .models import Application
from .networks import PKCE, Network
from .web import Repeated, single_values

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class Unacceptable(Exception):
    """The request can't be trusted or understood: the visitor is told, the redirect_uri is not."""


@dataclass(frozen=True)
class AuthorizationRequest:
    """A request whose application and redirect_uri are known to belong together."""

    application: Application
    response_type: str
    redirect_uri: str
    scope: str
    """Permissions, separated by spaces whatever the network's separator is."""
    state: str | None
    """None when absent: then it is not echoed either."""
    code_challenge: str
    way: str
    """Which account to come in with, in the network's word for it; "" where there is no choice."""
    prompt: str
    """That of OpenID Connect Core, section 3.1.2.1: "none", "consent", ..."""
    refreshable: bool
    """Whether a refresh token is asked for."""

    @classmethod
    def parse(cls, network: Network, query: QueryDict) -> Self:
        """The request in the address. Raises Unacceptable."""
        try:
            params = single_values(query)
        except Repeated as error:
            raise Unacceptable(_("“%s” is there more than once.") % error) from None
        application = Application.find(network, client_id=params.get("client_id", ""))
        if application is None:
            raise Unacceptable(_("There is no application with this client_id."))
        redirect_uri = params.get("redirect_uri", "")
        if not application.allows_redirect(redirect_uri):
            text = _(
                "%(uri)s is not one of the redirect URIs that are registered for this application. If the site "
                "has moved to another port, change SOCIALGRANTS_SANDBOX_URL and run load_sandbox again."
            )
            raise Unacceptable(text % {"uri": clean_text(redirect_uri, limit=300) or "-"})
        response_type = params.get("response_type", "")
        if response_type not in network.response_types:
            known = ", ".join(sorted(network.response_types))
            raise Unacceptable(_("The response_type is not one of these: %(known)s.") % {"known": known})
        state = params.get("state")
        if network.state_pattern and not network.state_pattern.fullmatch(state or ""):
            raise Unacceptable(_("The state is too short, or holds a character that is not allowed."))
        way = params.get("provider", next(iter(network.ways), ""))
        if network.ways and way not in network.ways:
            raise Unacceptable(_("There is no way in “%s”.") % way)
        asked = params.get("scope", "") or network.default_scope
        scopes = [scope for scope in asked.split(network.scope_separator) if scope]
        # The real ones may ignore a permission that they do not know; here a slip should be seen.
        if unknown := [scope for scope in scopes if scope not in network.scopes]:
            raise Unacceptable(_("There is no permission “%s”.") % unknown[0])
        return cls(
            application,
            response_type,
            redirect_uri,
            scope=" ".join(dict.fromkeys(scopes)),
            state=state,
            code_challenge=_code_challenge(network, params),
            way=way,
            prompt=params.get("prompt", ""),
            refreshable=_wants_refresh_token(network, scopes, params),
        )

    @property
    def origin(self) -> str:
        """Where the answer goes to, as scheme and host."""
        parts = urlsplit(self.redirect_uri)
        return f"{parts.scheme}://{parts.netloc}"

    def in_query(self, answer: Mapping[str, str]) -> str:
        """The address that carries the answer as the code flow does."""
        return f"{self.redirect_uri}{'&' if '?' in self.redirect_uri else '?'}{self._encoded(answer)}"

    def in_fragment(self, answer: Mapping[str, str]) -> str:
        """The address that carries the answer as the implicit flow does: servers never see it."""
        return f"{self.redirect_uri}#{self._encoded(answer)}"

    def _encoded(self, answer: Mapping[str, str]) -> str:
        echo = {} if self.state is None else {"state": self.state}
        return urlencode({**answer, **echo}, quote_via=quote)


def _wants_refresh_token(network: Network, scopes: list[str], params: Mapping[str, str]) -> bool:
    """Older clients send prompt_force=1; newer ones ask for `offline_access` with prompt=consent."""
    if not network.offline_scope or params.get("prompt_force") == "1":
        return True
    return network.offline_scope in scopes and params.get("prompt") == "consent"


def _code_challenge(network: Network, params: Mapping[str, str]) -> str:
    """The challenge of RFC 7636, section 4.3; "" if it is not sent, or the network ignores it."""
    if network.pkce is PKCE.IGNORED:
        return ""
    challenge, method = params.get("code_challenge", ""), params.get("code_challenge_method", "")
    if not challenge and network.pkce is PKCE.OPTIONAL:
        return ""
    if not _CHALLENGE.fullmatch(challenge) or method not in ("S256", "s256") or "code_verifier" in params:
        raise Unacceptable(_("The code_challenge is missing or malformed, or its method is not S256."))
    return challenge
