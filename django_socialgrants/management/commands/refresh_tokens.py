"""manage.py refresh_tokens"""

import json
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.flows.refresh_due import Bounds, refresh_due
from django_socialgrants.flows.report import MISCONFIGURED, Report
from django_socialgrants.management.interruption import interruptible
from django_socialgrants.management.progress import progress


class Command(BaseCommand):
    help = (
        "Refreshes every token whose time has come. May run from cron on several hosts at once. Exit codes: 0 all "
        "is settled, 1 something must be retried later, 2 configuration, 3 tokens are refused in masses, 128 + "
        "signal when stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="Applications (all).")
        parser.add_argument(
            "--within", type=_at_least(0), default=0, metavar="SECONDS", help="Also what comes due in that time (0)."
        )
        parser.add_argument(
            "--workers", type=_at_least(1), default=16, metavar="N", help="Requests at once (16)."
        )
        parser.add_argument("--limit", type=_at_least(1), metavar="N", help="Stop after so many tokens.")
        parser.add_argument(
            "--max-time", type=_at_least(1), metavar="SECONDS", help="Begin nothing after that time."
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count what is due.")
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")
        parser.add_argument("--no-progress", action="store_true", help="Show no progress bar on a terminal.")
        parser.add_argument(
            "--accept-mass-revocation",
            action="store_true",
            help="Believe a network that refuses tokens in masses, and mark them all.",
        )

    def handle(
        self,
        *args: Any,
        names: list[str],
        within: int,
        workers: int,
        limit: int | None,
        max_time: int | None,
        dry_run: bool,
        accept_mass_revocation: bool,
        no_progress: bool,
        **options: Any,
    ) -> None:
        with interruptible() as interruption, progress(0, shown=not no_progress) as advance:
            try:
                report = refresh_due(
                    names,
                    within=within,
                    bounds=Bounds(workers=workers, limit=limit, max_time=max_time),
                    dry_run=dry_run,
                    accept_mass_revocation=accept_mass_revocation,
                    stop=lambda: bool(interruption),
                    watch=...,
                )
