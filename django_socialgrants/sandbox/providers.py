"""The package's clients, pointed at the sandbox: what SOCIALGRANTS_PROVIDERS names for development."""

from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

from django_socialgrants.conf import conf
from django_socialgrants.providers import mailid, mailru, ok, vkid


def _at(path: str) -> str:
    """The address of a path of the sandbox; read from the settings when used."""
    if not conf.SANDBOX_URL:
        raise ImproperlyConfigured(
            "SOCIALGRANTS_SANDBOX_URL must say where the sandbox is mounted, "
            'for example "http://127.0.0.1:8000/sandbox".'
        )
    return f"{conf.SANDBOX_URL.rstrip('/')}/{path}"


class OK(ok.OK):
    @property
    def authorization_endpoint(self) -> str:  # type: ignore[override]
        return _at("ok/oauth/authorize")

    @property
    def token_endpoints(self) -> Mapping[str, str]:  # type: ignore[override]
        """By grant type; the password grant is a method of the REST API."""
        token = _at("ok/oauth/token.do")
        return {"authorization_code": token, "refresh_token": token, "password": self.api_endpoint}

    @property
    def api_endpoint(self) -> str:  # type: ignore[override]
        return _at("ok/fb.do")


class MailRu(mailru.MailRu):
    @property
    def authorization_endpoint(self) -> str:  # type: ignore[override]
        return _at("mailru/oauth/authorize")

    @property
    def token_endpoints(self) -> Mapping[str, str]:  # type: ignore[override]
        return dict.fromkeys(("authorization_code", "refresh_token", "password"), _at("mailru/oauth/token"))

    @property
    def api_endpoint(self) -> str:  # type: ignore[override]
        return _at("mailru/platform/api")


class VKID(vkid.VKID):
    @property
    def authorization_endpoint(self) -> str:  # type: ignore[override]
        return _at("vkid/authorize")

    @property
    def token_endpoints(self) -> Mapping[str, str]:  # type: ignore[override]
        return dict.fromkeys(("authorization_code", "refresh_token"), _at("vkid/oauth2/auth"))

    @property
    def identity_endpoint(self) -> str:  # type: ignore[override]
        return _at("vkid/oauth2/user_info")

    @property
    def revocation_endpoint(self) -> str:  # type: ignore[override]
        return _at("vkid/oauth2/revoke")

    @property
    def api_endpoint(self) -> str:  # type: ignore[override]
        return _at("vkid/method")


class MailID(mailid.MailID):
    @property
    def authorization_endpoint(self) -> str:  # type: ignore[override]
        return _at("mailid/login")

    @property
    def token_endpoints(self) -> Mapping[str, str]:  # type: ignore[override]
        return dict.fromkeys(("authorization_code", "refresh_token"), _at("mailid/token"))

    @property
    def api_endpoint(self) -> str:  # type: ignore[override]
        return _at("mailid")
