"""The settings, one typed property each: read from Django's settings when used, its default beside it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from django.conf import settings

T = TypeVar("T")


class Conf:
    """`conf.TIMEOUT` is SOCIALGRANTS_TIMEOUT of the site, or its default. The README has the table."""

    @property
    def PROVIDERS(self) -> Sequence[str]:
        """Dotted paths of `Provider` classes."""
        default = ["django_socialgrants.providers.ok.OK", "django_socialgrants.providers.mailru.MailRu"]
        return self._get("PROVIDERS", default)

    @property
    def CREDENTIALS(self) -> Mapping[str, Mapping[str, Any]]:
        """Fields of `ProviderCredentials` by name."""
        return self._get("CREDENTIALS", {})

    @property
    def ENCRYPTION_KEYS(self) -> Sequence[str]:
        """Urlsafe base64 of 32 bytes each: the first encrypts, all decrypt. Empty = derived from SECRET_KEY."""
        return self._get("ENCRYPTION_KEYS", [])

    @property
    def BASE_URL(self) -> str | None:
        """The site's origin for redirect URIs, "https://example.com"; None = from the request."""
        return self._get("BASE_URL", None)

    @property
    def CREATE_USERS(self) -> bool:
        """Whether somebody unknown who logs in gets a user."""
        return self._get("CREATE_USERS", True)

    @property
    def USER_FACTORY(self) -> str:
        """Dotted path of a function `(identity, credentials) -> user`; None from it, or LoginRefused = refuse."""
        return self._get("USER_FACTORY", "django_socialgrants.flows.newcomers.create_user")

    @property
    def TIMEOUT(self) -> float:
        """Seconds: the limit of one whole exchange with a network."""
        return self._get("TIMEOUT", 15)

    @property
    def CA_BUNDLE(self) -> str | None:
        """Path of a file with certificate authorities; None = those of `requests`."""
        return self._get("CA_BUNDLE", None)

    @property
    def INSECURE_LOOPBACK(self) -> bool:
        """Whether http:// endpoints and a http:// BASE_URL are allowed on loopback hosts."""
        return self._get("INSECURE_LOOPBACK", False)

    @property
    def STATE_AGE(self) -> int:
        """Seconds in which a login that was started can be finished."""
        return self._get("STATE_AGE", 600)

    @property
    def REFRESH_BEFORE(self) -> int:
        """Seconds before its expiry when a token counts as stale."""
        return self._get("REFRESH_BEFORE", 120)

    @property
    def LEASE(self) -> float:
        """Seconds for which the right to refresh one token is held; by default four times the timeout."""
        lease: float | None = self._get("LEASE", None)
        return 4 * self.TIMEOUT if lease is None else lease

    @property
    def EXCHANGE_RESPONSE(self) -> str | None:
        """Dotted path of a function `(request, user, token) -> HttpResponse` for native apps; None = no apps."""
        return self._get("EXCHANGE_RESPONSE", None)

    @property
    def SANDBOX_URL(self) -> str | None:
        """Where the sandbox is mounted, "http://127.0.0.1:8000/sandbox"."""
        return self._get("SANDBOX_URL", None)

    def _get(self, name: str, default: T) -> T:
        value: T = getattr(settings, f"SOCIALGRANTS_{name}", default)
        return value


conf = Conf()
