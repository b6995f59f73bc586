"""What an application asks for at the authorization endpoint: RFC 6749, sections 4.1.1 and 4.2.1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

from django.http import QueryDict
from django.utils.translation import gettext as _

from .models import Application
from .networks import Network
from .wire import Repeated, single_values


class Unacceptable(Exception):
    """The request can't be trusted or understood: to be shown to the visitor, never sent to redirect_uri."""


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
            raise Unacceptable(_("The redirect_uri is not one of those registered for this application."))
        response_type = params.get("response_type", "")
        if response_type not in ("code", "token"):
            raise Unacceptable(_("The response_type is neither “code” nor “token”."))
        scopes = [scope for scope in params.get("scope", "").split(network.scope_separator) if scope]
        # The real ones may ignore a permission that they do not know; here a slip had better be seen.
        if unknown := [scope for scope in scopes if scope not in network.scopes]:
            raise Unacceptable(_("There is no permission “%s”.") % unknown[0])
        scope = " ".join(dict.fromkeys(scopes))
        return cls(application, response_type, redirect_uri, scope, params.get("state"))

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
