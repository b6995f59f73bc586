"""manage.py refresh_tokens"""

import json
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError
from django.db import DatabaseError
from django.utils.translation import gettext as _

from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.flows.refresh_due import Bounds, refresh_due
from django_socialgrants.management.commandline import at_least, explained
from django_socialgrants.management.interruption import interruptible
from django_socialgrants.management.progress import counted_progress
from django_socialgrants.refreshing.report import MISCONFIGURED, Report


class Command(BaseCommand):
    help = (
        "Refreshes every token whose time has come. May run from cron, on several hosts at once. Exit codes: "
        "0 all is settled, 1 something must be retried later, 2 configuration, 3 tokens are refused in masses, "
        "128 + signal when stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("names", nargs="*", metavar="NAME", help="Applications (all).")
        add("--within", type=at_least(0), default=0, metavar="SECONDS", help="Also what comes due by then.")
        add("--workers", type=at_least(1), default=16, metavar="N", help="Requests at once (16).")
        add("--limit", type=at_least(1), metavar="N", help="Tokens to try at most.")
        add("--max-time", type=at_least(1), metavar="SECONDS", help="Begin with no token after that.")
        add("--dry-run", action="store_true", help="Only count what is due.")
        add("--json", action="store_true", help="Print one JSON document.")
        add("--no-progress", action="store_true", help="Show no progress bar on a terminal.")
        add(
            "--accept-mass-revocation",
            action="store_true",
            help="Believe a network that refuses tokens in masses, and mark them all.",
        )

    def check(self, *args: Any, **options: Any) -> None:
        """The system checks, with the exit code of this command."""
        try:
            super().check(*args, **options)
        except SystemCheckError as error:
            raise CommandError(str(error), returncode=MISCONFIGURED) from None
        except DatabaseError as error:  # some checks ask the database
            raise explained(error) from error

    def handle(self, *args: Any, **options: Any) -> None:
        bounds = Bounds(options["workers"], options["limit"], options["max_time"])
        shown = not (options["no_progress"] or options["dry_run"])
        label = _("Refreshing tokens")
        with interruptible() as interruption, counted_progress(label=label, shown=shown) as move:
            try:
                report = refresh_due(
                    options["names"],
                    within=options["within"],
                    bounds=bounds,
                    dry_run=options["dry_run"],
                    accept_mass_revocation=options["accept_mass_revocation"],
                    stop=lambda: bool(interruption),
                    watch=lambda report: move(report.tried, min(report.due, bounds.limit or report.due)),
                )
            except (UnknownCredentials, ImproperlyConfigured) as error:
                raise CommandError(str(error), returncode=MISCONFIGURED) from None
            except DatabaseError as error:
                raise explained(error) from error
        code = 128 + interruption.signal if interruption else report.exit_code
        if options["json"]:
            self.stdout.write(json.dumps(report.to_json() | {"exit": code}, ensure_ascii=False))
        else:
            self.print_report(report)
        self.print_notes(report)
        if code:
            sys.exit(code)

    def print_report(self, report: Report) -> None:
        for name, tally in report.applications.items():
            text = _(
                "%(name)s: %(due)d due, %(refreshed)d refreshed, %(needs_login)d need a login, %(failed)d failed, "
                "%(skipped)d skipped"
            )
            self.stdout.write(text % {"name": name, **tally.to_json()})
            for reason, count in tally.reasons.most_common():
                self.stdout.write(f"    {reason}: {count}")
        self.stdout.write(_("%(seconds).1f s") % {"seconds": report.seconds})

    def print_notes(self, report: Report) -> None:
        for name, tally in report.applications.items():
            for note in tally.notes:
                self.stderr.write(f"{name}: {note}")
