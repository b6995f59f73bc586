"""Every error of this package.

    SocialGrantsError
    ├── UnknownProvider          no such id among SOCIALGRANTS_PROVIDERS
    ├── UnknownCredentials       no application of that name
    ├── UnsupportedGrant         the network does not offer this grant
    ├── IdentityTaken            the account belongs to another user of this site
    ├── LoginRefused             raised by a site's own user factory
    ├── DecryptionError          a stored secret can't be read: .fingerprint, .key_known
    ├── NeedsLogin               no usable token, the user must grant again: .reason
    ├── UnsafeTransaction        a refresh could be undone by the transaction around it
    ├── RunFailed                a task has to be looked at by an operator: .document
    └── ProviderError            a network did not do what was asked
        ├── ProviderUnavailable  no usable answer: .retry_after, .sent, .status
        │   └── DeadlineExceeded ... because time was up
        ├── MalformedResponse    an answer that nobody documented
        ├── OAuthError           RFC 6749 section 5.2: .error, .description
        │   ├── InvalidGrant
        │   └── InvalidClient
        └── APIError             a REST call was refused: .code, .message, .method
            ├── SessionExpired
            ├── InvalidSignature
            ├── PermissionDenied
            ├── RateLimited
            └── ServiceUnavailable   also a ProviderUnavailable

No error carries a secret, neither in its text nor in an attribute, a cause or a context. Texts that come
from a network are cleaned: printable, on one line, at most 200 characters.
"""

from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"

_CUT = "…"
_SHORTEST_SECRET = 4
_JOINERS = "\u200c\u200d"


def clean_text(text: object, *, limit: int = 200) -> str:
    """`text` as one printable line of at most `limit` characters; "" for anything but a string.

    Zero width joiners and non-joiners stay: they are part of how Persian, Hindi and emoji are written.
    """
    if not isinstance(text, str):
        return ""
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char in _JOINERS else " " for char in text)
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - len(_CUT)] + _CUT


class SocialGrantsError(Exception):
    """The root: `except SocialGrantsError` catches whatever this package raises on purpose."""


class UnknownProvider(SocialGrantsError):
    """No provider of that id is listed in SOCIALGRANTS_PROVIDERS."""


class UnknownCredentials(SocialGrantsError):
    """No `ProviderCredentials` of that name is stored."""


class UnsupportedGrant(SocialGrantsError):
    """The network does not offer the grant that was asked for."""


class IdentityTaken(SocialGrantsError):
    """The network's account is connected to another user of this site."""


class LoginRefused(SocialGrantsError):
    """A user factory refuses somebody unknown: `raise LoginRefused(_("Ask for an invitation."))`.

    The visitor reads the sentence, which may be lazily translated. It is also logged.
    """


class DecryptionError(SocialGrantsError):
    """A stored secret can't be read.

    `fingerprint` is that of the key which the ciphertext names ("" if it is not one of our ciphertexts);
    `key_known` is False when that key is not configured, and True when it is but does not fit: then the
    value was damaged or moved to another place.
    """

    def __init__(self, message: str, *, fingerprint: str = "", key_known: bool = False) -> None:
        super().__init__(message)
        self.fingerprint = fingerprint
        self.key_known = key_known

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


class NeedsLogin(SocialGrantsError):
    """The user must grant again; `reason` is a short machine-readable word ("no_token", "invalid_grant").

    `application` is the name of the application that needs the grant, "" where none is meant.
    """

    def __init__(self, message: str = "", *, reason: str, application: str = "") -> None:
        super().__init__(message or f"the user must grant access again: {reason}")
        self.reason = reason
        self.application = application

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


class UnsafeTransaction(SocialGrantsError):
    """A token can't be refreshed here and now: the caller's transaction would undo it, or is in its way.

    No request was sent. `refreshing.committed` says when that is so.
    """


class RunFailed(SocialGrantsError):
    """A task that refreshes tokens ended with exit code 2 or 3.

    `document` is what `refresh_tokens --json` prints.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        problems = ", ".join(
            f"{name}: {tally['problem']}"
            for name, tally in document["applications"].items()
            if tally["problem"]
        )
        super().__init__(f"exit code {document['exit']}: {problems}")
        self.document = document

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.document,)


class ProviderError(SocialGrantsError):
    """A network did not do what it was asked.

    `gateway_status` is the status of RFC 9110 (15.6) with which a page of ours passes the failure on. `status` is
    the HTTP status of an answer that was refused because of it, before its body was read; else None.
    """

    gateway_status = 502
    status: int | None = None

    def redact(self, secrets: Iterable[str]) -> None:
        """Mask `secrets` in every text of this error: networks like to quote what they were sent.

        Strings shorter than 4 characters are left alone: they are not secrets, and masking them would break words.
        """
        wanted = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        cleaned = {clean_text(secret, limit=len(secret)) for secret in wanted}  # as they stand in our texts
        wanted |= {secret for secret in cleaned if len(secret) >= _SHORTEST_SECRET}
        longest_first = sorted(wanted, key=len, reverse=True)

        def masked(value: Any) -> Any:
            return _masked(value, longest_first) if isinstance(value, str) else value

        self.args = tuple(masked(arg) for arg in self.args)
        self.__dict__.update({name: masked(value) for name, value in self.__dict__.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


class ProviderUnavailable(ProviderError):
    """No usable answer: no connection, time was up, HTTP 5xx or 429.

    `retry_after` is the network's wish in whole seconds, or None. `sent` is False when the network can't
    have received the request, so that sending it again is safe; True when it may have. `status` is the HTTP
    status of its answer, None when none came.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: int | None = None,
        sent: bool = False,
        status: int | None = None,
        gateway_status: int = 503,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.sent = sent
        self.status = status
        self.gateway_status = gateway_status


class DeadlineExceeded(ProviderUnavailable):
    """The exchange was not over within SOCIALGRANTS_TIMEOUT seconds."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message, sent=sent, gateway_status=504)


class MalformedResponse(ProviderError):
    """The network answered something that nobody documented."""


class OAuthError(ProviderError):
    """An error answer of RFC 6749, section 5.2 (or 4.1.2.1): `error` and `description`."""

    def __init__(self, error: str, description: object = "") -> None:
        self.error = clean_text(error)
        self.description = clean_text(description)
        super().__init__(f"{self.error}: {self.description}" if self.description else self.error)


class InvalidGrant(OAuthError):
    """The code, password or refresh token is wrong, used, expired or revoked."""


class InvalidClient(OAuthError):
    """The application's own credentials were refused."""


class APIError(ProviderError):
    """A signed call was refused: the network's `code`, its `message`, and the `method` called."""

    def __init__(self, code: int, message: object = "", *, method: str = "") -> None:
        Exception.__init__(self, code)
        self.code = code
        self.message = clean_text(message)
        self.method = method

    def __str__(self) -> str:
        return f"{self.method or 'the call'} failed with code {self.code}: {self.message}"


class SessionExpired(APIError):
    """The access token is no longer valid, or never was."""


class InvalidSignature(APIError):
    """The signature or the application's key was refused: a matter of configuration."""


class PermissionDenied(APIError):
    """The user, the network or a privacy setting does not allow this call."""


class RateLimited(APIError):
    """Too many calls."""

    gateway_status = 503


class ServiceUnavailable(APIError, ProviderUnavailable):
    """The network says that it is out of order; trying later may help."""

    gateway_status = 503
    retry_after = None
    sent = True
    status = 200


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
        if _CUT in text:  # the limit of clean_text may have cut the secret in two
            for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
                text = text.replace(secret[:length] + _CUT, MASK + _CUT)
    return text


def _restore(cls: type[SocialGrantsError], args: tuple[Any, ...], state: dict[str, Any]) -> SocialGrantsError:
    """Unpickle an error whose constructor takes other arguments than those in `args`."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
