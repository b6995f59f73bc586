import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_socialgrants.providers import mailid, mailru, ok, vkid
from django_socialgrants.sandbox import providers

PAIRS = [
    (providers.OK, ok.OK),
    (providers.MailRu, mailru.MailRu),
    (providers.VKID, vkid.VKID),
    (providers.MailID, mailid.MailID),
]


@pytest.mark.parametrize(("sandbox", "real"), PAIRS)
def test_nothing_but_the_addresses_is_changed(settings, sandbox, real):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://localhost:8000/sandbox/"
    assert (sandbox.id, sandbox.title) == (real.id, real.title)
    assert set(sandbox().token_endpoints) == set(real.token_endpoints)
    changed = {name for name in vars(sandbox) if not name.startswith("__")}
    addresses = [getattr(sandbox(), name) for name in changed - {"token_endpoints"}]
    for address in [*addresses, *sandbox().token_endpoints.values()]:
        assert f"{address}/".startswith(f"http://localhost:8000/sandbox/{real.id}/")
    assert changed == {name for name in dir(real) if re.search("_endpoints?$", name) and getattr(real, name)}


@pytest.mark.parametrize(("sandbox", "real"), PAIRS)
def test_a_missing_address_is_told_clearly(settings, sandbox, real):
    settings.SOCIALGRANTS_SANDBOX_URL = None
    with pytest.raises(ImproperlyConfigured, match="SOCIALGRANTS_SANDBOX_URL"):
        sandbox().api_endpoint  # noqa: B018


def test_oks_password_grant_is_a_rest_call(settings):
    settings.SOCIALGRANTS_SANDBOX_URL = "http://localhost:8000/sandbox"
    assert providers.OK().token_endpoints["password"] == "http://localhost:8000/sandbox/ok/fb.do"
