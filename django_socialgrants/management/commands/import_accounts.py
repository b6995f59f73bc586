"""manage.py import_accounts"""

import json
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from django_socialgrants.exceptions import UnknownCredentials, UnknownProvider
from django_socialgrants.flows.import_sources import ImportRefused
from django_socialgrants.flows.importing import PACKAGES, ImportReport, Outcome, import_accounts
from django_socialgrants.management.interruption import interruptible
from django_socialgrants.management.progress import above_progress, counted_progress


class Command(BaseCommand):
    help = (
        "Imports the accounts and tokens that another package keeps: people need not log in again. May run beside "
        "the site, and be stopped and repeated. Exit codes: 0 all accounts are here, 1 some were skipped, "
        "2 configuration, 128 + signal when stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--from", dest="package", choices=PACKAGES, required=True, help="The other package.")
        add("--application", metavar="NAME", required=True, help="The application that gets the accounts.")
        add("--provider", default="", metavar="ID", help="What the other package calls the network.")
        add("--dry-run", action="store_true", help="Only tell what would become of the accounts.")
        add("--json", action="store_true", help="Print one JSON document.")
        add("--no-progress", action="store_true", help="Show no progress bar on a terminal.")

    def handle(self, *args: Any, package: str, application: str, provider: str, **options: Any) -> None:
        with interruptible() as interruption, counted_progress(shown=not options["no_progress"]) as move:
            try:
                report = import_accounts(
                    package,
                    application,
                    provider=provider,
                    dry_run=options["dry_run"],
                    stop=lambda: bool(interruption),
                    watch=lambda report: move(report.done, report.total),
                    skipped=self.print_skipped,
                )
            except (ImportRefused, UnknownCredentials, UnknownProvider, ImproperlyConfigured) as error:
                raise CommandError(str(error), returncode=2) from None
        if options["json"]:
            self.stdout.write(json.dumps(report.to_json(), ensure_ascii=False))
        else:
            self.print_report(report)
        if interruption:
            self.stderr.write(_("Stopped. The next run does the rest."), self.style.NOTICE)
        if code := 128 + interruption.signal if interruption else report.exit_code:
            sys.exit(code)

    def print_skipped(self, pk: Any, outcome: Outcome) -> None:
        with above_progress():
            self.stderr.write(_("account %(pk)s: skipped, %(reason)s") % {"pk": pk, "reason": outcome.label})

    def print_report(self, report: ImportReport) -> None:
        if report.dry_run:
            self.stderr.write(_("Nothing was changed."), self.style.NOTICE)
        text = _(
            "%(provider)s into %(application)s: %(accounts)d accounts, %(imported)d imported (%(needs_login)d "
            "need a login), %(updated)d updated, %(unchanged)d unchanged, %(skipped)d skipped"
        )
        self.stdout.write(text % report.to_json())
        for reason, count in report.skipped.items():
            self.stdout.write(f"    {reason}: {count}")
