"""manage.py rehearse"""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import CommandParser
from django.utils import timezone

from django_socialgrants.sandbox.failures import FAILURES
from django_socialgrants.sandbox.management.commands.rehearse import Command
from django_socialgrants.sandbox.models import Rehearsal

pytestmark = pytest.mark.django_db


def rehearse(*args):
    out = StringIO()
    call_command("rehearse", *args, stdout=out)
    return out.getvalue().splitlines()


USUAL = ["OK: as usual", "Mail.Ru: as usual", "VK ID: as usual", "Mail ID: as usual"]


def test_all_networks_fail_until_it_is_ended():
    assert rehearse("unavailable") == [
        line.replace("as usual", "unavailable, until it is ended") for line in USUAL
    ]
    assert rehearse("--end") == USUAL


def test_a_network_may_be_named():
    assert rehearse("ok", "gateway", "--count", "3") == ["OK: gateway, requests left: 3", *USUAL[1:]]
    assert rehearse("mailru", "slow", "--seconds", "5")[1] == "Mail.Ru: slow, until it is ended"
    assert [*Rehearsal.objects.order_by("network").values_list("network", "seconds")] == [
        ("mailru", 5),
        ("ok", None),
    ]
    assert rehearse("--end", "ok") == [USUAL[0], "Mail.Ru: slow, until it is ended", *USUAL[2:]]


def test_a_time_is_told_by_what_is_left_of_it():
    assert rehearse("ok", "unavailable", "--for", "3600")[0].startswith("OK: unavailable, seconds left: 3")
    assert timedelta(minutes=55) < Rehearsal.objects.get().until - timezone.now() <= timedelta(hours=1)
    Rehearsal.objects.update(until=timezone.now())
    assert rehearse() == USUAL


def test_without_a_word_it_tells_what_is_on_and_changes_nothing():
    assert rehearse() == USUAL
    before = rehearse("mailru", "cut", "--count=2")
    assert rehearse() == before
    Rehearsal.objects.update(remaining=0)
    assert rehearse() == USUAL


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["thunderstorm"], "“thunderstorm” is none of these: unavailable, gateway"),
        (["vk", "unavailable"], "“vk” is none of these: ok, mailru"),
        (["--end", "vk"], "“vk” is none of these"),
        (["ok"], "“ok” is none of these"),
        (["unavailable", "--count", "0"], "not a number between 1 and"),
        (["unavailable", "--count", "-1"], "not a number between 1 and"),
        (["unavailable", "--for", "soon"], "not a number between 1 and"),
        (["unavailable", "--count", "1", "--for", "1"], "not allowed with"),
        (["unavailable", "--seconds", "1"], "unavailable takes no seconds"),
        (["slow", "--seconds", "121"], "slow takes at most 120 seconds"),
        (["ok", "other-identity"], "other-identity is not for this network"),
    ],
)
def test_what_it_does_not_understand_it_refuses(args, message):
    with pytest.raises(CommandError, match=message):
        rehearse(*args)
    assert Rehearsal.objects.count() == 0


def test_its_help_lists_every_failure_on_a_line_of_its_own():
    parser = CommandParser()
    Command().add_arguments(parser)
    lines = parser.format_help().splitlines()
    for name, failure in FAILURES.items():
        line = next(line for line in lines if line.split()[:1] == [name])
        assert line.endswith(str(failure.help))
        assert len(line) <= 110
