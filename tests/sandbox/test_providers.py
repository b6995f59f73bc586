import pytest
from django.core.exceptions import ImproperlyConfigured

from django_socialgrants.providers import mailru, ok
from django_socialgrants.sandbox import providers

PAIRS = [(providers.OK, ok.OK), (providers.MailRu, mailru.MailRu)]


@pytest.mark.parametrize(("sandbox", "real"), PAIRS)
def test_nothing_but_the_addresses_is_changed(settings, sandbox, real):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://localhost:8000/sandbox/"
    assert (sandbox.id, sandbox.title) == (real.id, real.title)
    assert set(sandbox().token_endpoints) == set(real.token_endpoints)
    addresses = [
        sandbox().authorization_endpoint,
        sandbox().api_endpoint,
        *sandbox().token_endpoints.values(),
    ]
    assert all(address.startswith(f"http://localhost:8000/sandbox/{real.id}/") for address in addresses)
    assert {name for name in vars(sandbox) if not name.startswith("__")} == {
        "authorization_endpoint",
        "token_endpoints",
        "api_endpoint",
    }


@pytest.mark.parametrize(("sandbox", "real"), PAIRS)
def test_a_missing_address_is_told_clearly(settings, sandbox, real):
    settings.SOCIALGRANTS_SANDBOX_URL = None
    with pytest.raises(ImproperlyConfigured, match="SOCIALGRANTS_SANDBOX_URL"):
        sandbox().api_endpoint  # noqa: B018


def test_oks_password_grant_is_a_rest_call(settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://localhost:8000/sandbox"
    assert providers.OK().token_endpoints["password"] == "http://localhost:8000/sandbox/ok/fb.do"
