"""Telling a network that a grant is over (RFC 7009), where it wants to know."""

import time
from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured

from django_socialgrants import signals
from django_socialgrants.conf import conf
from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import SocialGrantsError, UnknownProvider
from django_socialgrants.models import UserToken


def say_goodbye(tokens: Sequence[UserToken]) -> None:
    """Revoke tokens whose rows are gone, and tell receivers of `disconnected` what came of it. Raises nothing.

    Each is tried once and as it is: an expired token is not refreshed for that. With several tokens no request is
    begun later than after SOCIALGRANTS_TIMEOUT seconds, as somebody waits for the page.
    """
    ends = time.monotonic() + conf.TIMEOUT
    for token in tokens:
        signals.send(signals.disconnected, token, revoked=_revoke(token, ends))


def _revoke(token: UserToken, ends: float) -> bool | None:
    """Whether the network took the grant back; None if it can't be asked."""
    try:
        provider = token.credentials.get_provider()
    except (UnknownProvider, ImproperlyConfigured):
        return None
    try:
        request = provider.revocation_request(token.credentials.to_value(), token.to_value())
        if request is None:
            return None
        if time.monotonic() > ends:
            raise TimeoutError("others took too long")
        signals.announced_exchange(request, provider.parse_revocation, provider=provider, purpose="revoke")
    except Exception as error:  # also of a site's own provider: the token is gone anyway
        name, problem = token.credentials.name, type(error).__name__
        detail = f": {error}" if isinstance(error, SocialGrantsError) else ""  # others may quote anything
        log(
            *(Event.NOT_REVOKED, "token %s of %s was not revoked: %s%s", token.pk, name, problem, detail),
            application=name,
            token=token.pk,
            reason=problem,
        )
        return False
    return True
