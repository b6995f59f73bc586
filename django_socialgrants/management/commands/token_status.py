"""manage.py token_status"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.translation import gettext as _

from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.flows.status import status
from django_socialgrants.management.commandline import at_least, explained

Facts = Mapping[str, Any]


class Command(BaseCommand):
    help = (
        "Tells how many tokens are active, due or in need of a login, and which applications are paused. Reads "
        "only. Exit codes: 0 all is well, or nothing was asked to be watched; 1 a limit is exceeded; "
        "2 configuration."
    )
    requires_system_checks = []  # monitoring runs often

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("names", nargs="*", metavar="NAME", help="Applications (all).")
        add("--json", action="store_true", help="Print one JSON document.")
        add(
            "--fail-overdue",
            type=at_least(0),
            metavar="SECONDS",
            help="Exit with 1 if a token has been due for longer.",
        )
        add(
            "--fail-needs-login",
            type=at_least(0),
            metavar="PERCENT",
            help="Exit with 1 if more tokens of an application need a login.",
        )

    def handle(self, *args: Any, names: list[str], **options: Any) -> None:
        try:
            document = status(names)
        except UnknownCredentials as error:
            raise CommandError(str(error), returncode=2) from None
        except DatabaseError as error:
            raise explained(error) from error
        applications: Mapping[str, Facts] = document["applications"]
        if options["json"]:
            self.stdout.write(json.dumps(document, ensure_ascii=False))
        else:
            self.print_table(applications)
        exceeded = list(_exceeded(applications, options["fail_overdue"], options["fail_needs_login"]))
        for text in exceeded:
            self.stderr.write(text, self.style.ERROR)
        if exceeded:
            sys.exit(1)

    def print_table(self, applications: Mapping[str, Facts]) -> None:
        head = (_("application"), _("active"), _("due"), _("needs login"), _("oldest refresh"))
        names = ("active", "due", "needs_login", "oldest_refresh")
        rows = [[name, *(str(facts[key] or "-") for key in names)] for name, facts in applications.items()]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
        for name, facts in applications.items():
            for note in _notes(facts):
                self.stdout.write(f"{name}: {note}")


def _notes(facts: Facts) -> Iterator[str]:
    """What does not fit into a table."""
    if facts["due"]:
        yield _("due for %(overdue)d s, since %(overdue_since)s") % facts
    for reason, count in facts["reasons"].items():
        yield _("needs login, %(reason)s: %(count)d") % {"reason": reason, "count": count}
    if facts["undecipherable"]:
        yield _("undecipherable: %(undecipherable)d") % facts
    if facts["paused_until"]:
        yield _("paused until %(paused_until)s: %(problem)s") % facts
    elif facts["problem"]:
        yield _("single tokens are tried: %(problem)s") % facts


def _exceeded(
    applications: Mapping[str, Facts], overdue: int | None, needs_login: int | None
) -> Iterator[str]:
    """A sentence for each limit that an application exceeds."""
    for name, facts in applications.items():
        if overdue is not None and facts["overdue"] > overdue:
            yield _("%(name)s: due for %(overdue)d s") % {"name": name, "overdue": facts["overdue"]}
        percent = 100 * facts["needs_login"] / (facts["active"] + facts["needs_login"] or 1)
        if needs_login is not None and percent > needs_login:
            yield _("%(name)s: %(percent).1f %% of the tokens need a login") % {
                "name": name,
                "percent": percent,
            }
