"""System checks: each mistake in the settings is told under an id of its own, and a right one is silent."""

import inspect
import re
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_socialgrants import checks
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.provider import Provider

OK = "django_socialgrants.providers.ok.OK"
KEY = urlsafe_b64encode(b"k" * 32).decode()


class Nameless(Provider):
    """A provider whose author forgot everything."""


not_a_class = Nameless()

MISTAKES = [
    ("E001", {"PROVIDERS": ["no.such.module.OK"]}),
    ("E001", {"PROVIDERS": ["django_socialgrants.providers.ok.NoSuchClass"]}),
    ("E001", {"PROVIDERS": ["nonsense"]}),
    ("E001", {"PROVIDERS": [""]}),
    ("E001", {"PROVIDERS": ["django_socialgrants.providers.ok"]}),
    ("E001", {"PROVIDERS": ["django.db.models.Model"]}),
    ("E001", {"PROVIDERS": ["tests.test_checks.not_a_class"]}),
    ("E001", {"PROVIDERS": ["tests.test_checks.Nameless"]}),
    ("E002", {"PROVIDERS": [OK, "tests.fakes.FakeOK"]}),
    ("E002", {"PROVIDERS": [OK, OK]}),
    ("E003", {"ENCRYPTION_KEYS": ["too short"]}),
    ("E003", {"ENCRYPTION_KEYS": [KEY, ""]}),
    ("E003", {"ENCRYPTION_KEYS": [None]}),
    ("E003", {"ENCRYPTION_KEYS": KEY}),
    ("E004", {"LEASE": 44}),
    ("E004", {"LEASE": 0}),
    ("E004", {"LEASE": 60, "TIMEOUT": 21}),
    ("E004", {"TIMEOUT": 0}),
    ("E004", {"TIMEOUT": -1, "LEASE": 60}),
]

RIGHT = [
    {},
    {"PROVIDERS": []},
    {"PROVIDERS": ["tests.fakes.FakeMailRu", OK]},
    {"ENCRYPTION_KEYS": [KEY]},
    {"ENCRYPTION_KEYS": (KEY, urlsafe_b64encode(b"-" * 32).decode())},
    {"LEASE": 45},
    {"TIMEOUT": 0.5},
    {"TIMEOUT": 20, "LEASE": 60},
]


def found(settings, mistake):
    for name, value in mistake.items():
        setattr(settings, f"SOCIALGRANTS_{name}", value)
    return run_checks(tags=["socialgrants"])


@pytest.mark.parametrize(("wanted", "mistake"), MISTAKES)
def test_a_mistake_is_told_with_its_id_and_a_hint(settings, wanted, mistake):
    messages = found(settings, mistake)
    assert {message.id for message in messages} == {f"socialgrants.{wanted}"}
    for message in messages:
        assert message.hint
        assert any(f"SOCIALGRANTS_{name}" in message.msg for name in mistake)


@pytest.mark.parametrize("right", RIGHT)
def test_right_settings_are_silent(settings, right):
    assert found(settings, right) == []


def test_mistakes_do_not_hide_each_other(settings):
    messages = found(settings, {"PROVIDERS": ["a.b", "c.d", OK, OK], "ENCRYPTION_KEYS": ["x"], "LEASE": 1})
    ids = [message.id.removeprefix("socialgrants.") for message in messages]
    assert sorted(ids) == ["E001", "E001", "E002", "E003", "E004"]


def test_every_id_belongs_to_one_mistake_and_is_explained():
    ids = re.findall(r"socialgrants\.(\w\d+)", inspect.getsource(checks))
    assert len(ids) == len(set(ids))
    assert set(ids) == {wanted for wanted, _ in MISTAKES}
    readme = Path(__file__).parent.parent.joinpath("README.rst").read_text()
    assert set(re.findall(r"``socialgrants\.(\w\d+)``", readme)) == set(ids)


def test_keys_are_not_shown(settings):
    [message] = found(settings, {"ENCRYPTION_KEYS": [KEY, KEY[:-2]]})
    assert KEY[:-2] not in f"{message.msg} {message.hint}"


@pytest.mark.django_db
def test_a_provider_that_is_gone_is_told_by_check_and_breaks_no_model(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["no.such.module.OK", "tests.fakes.FakeMailRu"]
    assert ProviderCredentials._meta.get_field("provider").flatchoices == [("mailru", "Mail.Ru")]
    with pytest.raises(SystemCheckError, match=r"socialgrants\.E001"):
        call_command("check")
