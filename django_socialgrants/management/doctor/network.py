"""The steps that ask a live network, with as few requests as that takes, none of which changes anything there."""

import secrets
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.exceptions import (
    DecryptionError,
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    MalformedResponse,
    NeedsLogin,
    ProviderError,
    ProviderUnavailable,
    SocialGrantsError,
)
from django_socialgrants.flows.login import identify
from django_socialgrants.flows.refresh import usable
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import AuthorizationCodeGrant
from django_socialgrants.oauth.values import Request, Response, reveal
from django_socialgrants.transport.exchange import exchange, send
from django_socialgrants.transport.names import addresses

from .findings import Finding, Status

MADE_UP_CODE = "made-up-by-socialgrants-doctor"
_CLOCK_TOLERANCE = 60
"""Seconds by which a network's clock may differ from ours: its `Date` is cut to whole seconds, and travels."""


def examine_endpoints(application: ProviderCredentials) -> Iterator[Finding]:
    """Name look-up, connection and time for every host but that of the token endpoint, which is asked anyway."""
    provider = application.get_provider()
    token_endpoint = provider.token_endpoints.get("authorization_code", "")
    urls = [
        provider.authorization_endpoint,
        token_endpoint,
        *provider.token_endpoints.values(),
        provider.api_endpoint,
        provider.identity_endpoint,
    ]
    by_host = {urlsplit(url).hostname or "": url for url in reversed(urls) if url}
    for host, url in by_host.items():
        try:
            addresses(host)
        except OSError as error:
            text = _("The name %(host)s can't be looked up: %(error)s.") % {
                "host": host,
                "error": error.strerror,
            }
            yield Finding("names", Status.FAILED, text, _("See whether this machine has a working resolver."))
            continue
        if host != urlsplit(token_endpoint).hostname:
            yield _reached(host, url)


def _reached(host: str, url: str) -> Finding:
    began = time.monotonic()
    try:
        send(Request("GET", url))
    except ProviderUnavailable as error:
        if error.status is None:
            return _unreachable(host, error)
    except MalformedResponse:
        pass  # a redirect, or a page: whatever it is, it came from there
    return _in_time(host, time.monotonic() - began)


def _unreachable(host: str, error: ProviderUnavailable) -> Finding:
    fix = _(
        "See whether a firewall or proxy is in the way, and whether the certificate is signed by an "
        "authority that this machine trusts (SOCIALGRANTS_CA_BUNDLE)."
    )
    return Finding("endpoints", Status.FAILED, str(error) or host, fix)


def _in_time(host: str, seconds: float) -> Finding:
    text = _("%(host)s answered within %(seconds).1f s.") % {"host": host, "seconds": seconds}
    if seconds < conf.TIMEOUT / 3:
        return Finding("endpoints", Status.OK, text)
    fix = _(
        "A login takes two or three requests; each may take SOCIALGRANTS_TIMEOUT (%(timeout)s s) at most."
    )
    return Finding("endpoints", Status.WARNING, text, fix % {"timeout": conf.TIMEOUT})


def examine_credentials(application: ProviderCredentials, redirect_uri: str) -> Iterator[Finding]:
    """Whether the network knows the application and its secret: it is asked to redeem a code that was made up.

    The network refuses the code of an application that it knows, and refuses any other application itself.
    """
    provider = application.get_provider()
    try:
        known = application.to_value()
        missing = [name for name in provider.required_credentials if not reveal(getattr(known, name))]
    except DecryptionError as error:
        text = _("The stored credentials can't be decrypted: %(error)s.") % {"error": error}
        yield Finding(
            "credentials", Status.FAILED, text, _("Put their key back into SOCIALGRANTS_ENCRYPTION_KEYS.")
        )
        return
    if missing:
        names = ", ".join(f"{name} ({provider.labels.get(name, name)})" for name in missing)
        text = _("The credentials lack %(names)s.") % {"names": names}
        yield Finding(
            "credentials", Status.FAILED, text, _("Fill it in, in the admin or with sync_credentials.")
        )
        return
    grant = AuthorizationCodeGrant(
        MADE_UP_CODE,
        redirect_uri,
        secrets.token_urlsafe(32) if provider.pkce else "",
        device_id="socialgrants-doctor" if "device_id" in provider.callback_fields else "",
        state=secrets.token_urlsafe(32),
    )
    request = provider.token_request(known, grant)
    answers: list[Response] = []

    def parse(response: Response) -> None:
        answers.append(response)
        provider.parse_token_response(response, grant)

    began = time.monotonic()
    try:
        exchange(request, parse)
    except ProviderError as error:
        refusal: ProviderError | None = error
    else:
        refusal = None
    if isinstance(refusal, ProviderUnavailable) and refusal.status is None:
        yield _unreachable(urlsplit(request.url).hostname or "", refusal)
        return
    yield _in_time(urlsplit(request.url).hostname or "", time.monotonic() - began)
    yield from _clock(answers)
    yield _judged(refusal)


def _clock(answers: list[Response]) -> Iterator[Finding]:
    """The network's clock (RFC 9110, section 6.6.1) against ours."""
    try:
        theirs = parsedate_to_datetime(answers[0].headers["date"]).timestamp()
    except (IndexError, KeyError, ValueError):
        return
    ahead = time.time() - theirs
    if abs(ahead) <= _CLOCK_TOLERANCE:
        yield Finding("clock", Status.OK, _("The clock agrees with the network's."))
        return
    text = _("The clock of this machine is %(seconds)d s off the network's.") % {"seconds": ahead}
    yield Finding(
        "clock", Status.WARNING, text, _("Keep it with NTP: tokens would be refreshed too early or late.")
    )


def _judged(refusal: ProviderError | None) -> Finding:
    match refusal:
        case InvalidGrant():
            return Finding("credentials", Status.OK, _("The network knows the application and its secret."))
        case InvalidClient() | InvalidSignature():
            text = _("The network refuses the application: %(error)s.") % {"error": refusal}
            fix = _(
                "Compare client id and client secret with the network's page for developers; is one the other?"
            )
            return Finding("credentials", Status.FAILED, text, fix)
        case ProviderUnavailable():
            text = _("The network is out of order: %(error)s.") % {"error": refusal}
            return Finding("credentials", Status.FAILED, text, _("Try again later."))
        case None:
            text = _("The network gave a token for a code that was made up.")
            return Finding("credentials", Status.FAILED, text, _("See what SOCIALGRANTS_PROVIDERS leads to."))
    text = _("The network did not say whether it knows the application: %(error)s.") % {"error": refusal}
    fix = _(
        "Compare the callback URLs above with those that are registered there, and the client id and secret."
    )
    return Finding("credentials", Status.WARNING, text, fix)


def examine_token(application: ProviderCredentials, username: str) -> Iterator[Finding]:
    """Whether the network still answers in the name of this user; a stale token is refreshed first."""
    user = {f"user__{get_user_model().USERNAME_FIELD}": username}
    tokens = UserToken.objects.with_time().filter(credentials=application, **user)
    token = tokens.order_by("-created_at", "-pk").first()
    if token is None:
        text = _("%(user)s has not granted access to this application.") % {"user": username}
        yield Finding("call", Status.WARNING, text, _("Have them log in or connect their account."))
        return
    try:
        identity = identify(application, usable(token).to_value())
    except NeedsLogin as error:
        text = _("%(user)s has to log in again: %(reason)s.") % {"user": username, "reason": error.reason}
        yield Finding("call", Status.FAILED, text, _("Nobody else can help: the network ended their grant."))
    except SocialGrantsError as error:
        text = _("The network did not answer a call in the name of %(user)s: %(error)s.")
        fix = _("If the steps before are in order, look at the client key, with which calls are signed.")
        yield Finding("call", Status.FAILED, text % {"user": username, "error": error}, fix)
    else:
        text = _("The network answered a call in the name of %(user)s (user id %(uid)s).")
        yield Finding("call", Status.OK, text % {"user": username, "uid": identity.uid})
