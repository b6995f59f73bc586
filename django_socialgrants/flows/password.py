"""The password grant (RFC 6749, section 4.3), for operators: a password is asked for, and a token is stored.

RFC 9700 (section 2.4) advises against it, and a network may let single applications use it, or none. So most of
what is here says what a refusal means: what an operator has to do about it, and whether it is for them to set
something right (exit status 2) or up to the network and the account (1).
"""

from collections.abc import Callable
from dataclasses import replace

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_socialgrants.exceptions import (
    APIError,
    DecryptionError,
    IdentityTaken,
    InvalidClient,
    InvalidGrant,
    InvalidSignature,
    OAuthError,
    ProviderUnavailable,
    RateLimited,
    SocialGrantsError,
    UnknownCredentials,
    UnknownProvider,
    UnsupportedGrant,
)
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import PasswordGrant
from django_socialgrants.oauth.values import Secret, Token, reveal

from .contention import reconnect
from .login import Granted, identify, link, redeem
from .refusal import Refusal

_Meaning = tuple[int, str | Promise]

_NOT_OFFERED = _("The network does not offer the password grant.")

SAID: dict[str, _Meaning] = {
    "unauthorized_client": (
        2,
        _("The network's moderators have not enabled this grant for this application. Ask them to."),
    ),
    "unsupported_grant_type": (2, _NOT_OFFERED),
    "invalid_scope": (2, _("The network does not know this scope, or does not give it to this application.")),
    "captcha": (
        1,
        _("The network asks for a captcha. Log in through a browser first; do not try again at once."),
    ),
    "browser": (
        1,
        _("The network doubts this login. Log in through a browser first; do not try again at once."),
    ),
    "blocked": (1, _("The network has blocked this account.")),
    "deleted": (1, _("This account at the network was deleted.")),
}
"""Exit status and sentence by what the network said to a password: an `error` of RFC 6749, section 5.2, or a
word of `Provider.password_errors`."""

_REFUSED_APPLICATION = _(
    "The network refused the application itself. Check its client id, client secret and client key, and whether "
    "the network's moderators have enabled this grant for it."
)
_TRY_LATER = _("The network is not available. Try again later.")

MET: dict[type[Exception], _Meaning] = {
    UnknownCredentials: (2, _("There are no credentials of this name.")),
    UnknownProvider: (2, _("The network of these credentials is not in SOCIALGRANTS_PROVIDERS.")),
    UnsupportedGrant: (2, _NOT_OFFERED),
    DecryptionError: (2, _("The credentials can't be read. Is their key in SOCIALGRANTS_ENCRYPTION_KEYS?")),
    ImproperlyConfigured: (2, _("The settings are wrong.")),
    InvalidClient: (2, _REFUSED_APPLICATION),
    InvalidSignature: (2, _REFUSED_APPLICATION),
    InvalidGrant: (1, _("User name or password is wrong, or the account is blocked or deleted.")),
    IdentityTaken: (1, _("That account is already connected to somebody else on this site.")),
    RateLimited: (1, _TRY_LATER),
    ProviderUnavailable: (1, _TRY_LATER),
    SocialGrantsError: (1, _("The network refused, or answered something unexpected.")),
}
"""The same by the error that was met; the first class that fits."""


class NotGranted(Exception):
    """No token was stored: `str()` tells an operator why, `status` is the exit status that says it to a script."""

    def __init__(self, sentence: str | Promise, *, status: int, detail: object = "") -> None:
        super().__init__(f"{sentence} ({detail})" if detail else str(sentence))
        self.status = status


def grant_access(
    name: str, username: str, ask: Callable[[], Secret], *, user: str, scope: str = ""
) -> UserToken:
    """The stored token that the application `name` got for `username` at its network, for one of our users.

    `user` is the natural key of an active one. `ask` gives the password, and is called only when all else is in
    order. `scope` is separated by spaces, that of the credentials when empty. Raises NotGranted.
    """
    try:
        credentials = ProviderCredentials.objects.named(name)
        _owner(user)
        _check_complete(credentials, username)
        token = _redeem(credentials, PasswordGrant(username, _filled_in(ask()), scope or credentials.scope))
        token = replace(token, scope=token.scope or scope)
        granted = Granted(credentials, token, identify(credentials, token), PasswordGrant.grant_type)
        reconnect()
        return link(granted, user=_owner(user))  # looked up again: typing takes its time
    except Refusal as refusal:
        raise NotGranted(refusal.sentence, status=1, detail=refusal.detail) from None
    except (SocialGrantsError, ImproperlyConfigured) as error:
        status, sentence = next(MET[kind] for kind in MET if isinstance(error, kind))
        raise NotGranted(sentence, status=status, detail=error) from None


def _owner(natural_key: str) -> User:
    model = get_user_model()
    try:
        users = model._default_manager.db_manager(router.db_for_write(model))
        user: User = users.get_by_natural_key(natural_key)
    except model.DoesNotExist:
        raise NotGranted(_("There is no such user on this site."), status=2, detail=natural_key) from None
    if not user.is_active:
        raise NotGranted(_("This user is not active."), status=2, detail=natural_key)
    return user


def _check_complete(credentials: ProviderCredentials, username: str) -> None:
    """Rehearse the request, so that nobody's password is asked for, or sent, in vain.

    A client secret that no login works without is needed in any case: to ask whose the token is.
    """
    application = credentials.to_value()
    provider = credentials.get_provider()
    needed = dict(provider.token_request(application, PasswordGrant(username, "rehearsal")).params)
    needed.pop("client_secret", None)
    if "client_secret" in provider.required_credentials:
        needed["client_secret"] = application.client_secret
    if missing := [name for name, value in needed.items() if not reveal(value)]:
        raise NotGranted(_("The credentials are incomplete."), status=2, detail=", ".join(missing))


def _filled_in(password: Secret) -> Secret:
    if not password:
        raise NotGranted(_("The password is empty."), status=2)
    return password


def _redeem(credentials: ProviderCredentials, grant: PasswordGrant) -> Token:
    try:
        return redeem(credentials, grant)
    except (APIError, OAuthError) as error:
        said = str(error.code) if isinstance(error, APIError) else error.error
        meant = SAID.get(credentials.get_provider().password_errors.get(said, said))
        if meant is None:
            raise
        raise NotGranted(meant[1], status=meant[0], detail=error) from None
