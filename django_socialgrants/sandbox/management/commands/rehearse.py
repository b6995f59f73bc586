"""manage.py rehearse"""

from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from django_socialgrants.sandbox.failures import FAILURES
from django_socialgrants.sandbox.networks import NETWORKS
from django_socialgrants.sandbox.rehearsal import Impossible, begin, end, report

_LONGEST = 30 * 24 * 3600


class Command(BaseCommand):
    help = "Lets a network of the sandbox fail on purpose, so that a site can rehearse it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = "\n".join(
            ["failures:", *(f"  {name:21}{failure.help}" for name, failure in FAILURES.items())]
        )
        parser.add_argument(
            "words",
            nargs="*",
            metavar="[NAME] FAILURE",
            help="the id of a network (default: all) and a failure from the list below; without, tells what is on",
        )
        lasting = parser.add_mutually_exclusive_group()
        lasting.add_argument(
            "--count", type=_positive, metavar="N", help="end at each network after N requests have failed"
        )
        lasting.add_argument(
            "--for", type=_positive, metavar="SECONDS", dest="lasting", help="end after that time"
        )
        lasting.add_argument("--end", action="store_true", help="end now: --end, or --end NAME")
        parser.add_argument("--seconds", type=_positive, metavar="S", help="for slow and rate-limit")

    def handle(self, *args: Any, words: list[str], **options: Any) -> None:
        names = words if options["end"] else words[:-1]
        networks = [NETWORKS[_known(name, NETWORKS)] for name in names]
        if options["end"]:
            end(networks)
        elif words:
            lasting = timedelta(seconds=options["lasting"]) if options["lasting"] else None
            try:
                begin(
                    _known(words[-1], FAILURES),
                    networks,
                    count=options["count"],
                    lasting=lasting,
                    seconds=options["seconds"],
                )
            except Impossible as error:
                raise CommandError(str(error)) from None
        for line in report():
            self.stdout.write(line)


def _known(word: str, words: Any) -> str:
    if word not in words:
        raise CommandError(
            _("“%(word)s” is none of these: %(words)s.") % {"word": word, "words": ", ".join(words)}
        )
    return word


def _positive(value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= _LONGEST):
        raise ArgumentTypeError(f"not a number between 1 and {_LONGEST}: {value}")
    return int(value)
