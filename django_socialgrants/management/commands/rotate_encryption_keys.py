"""manage.py rotate_encryption_keys"""

import sys
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.management.interruption import interruptible
from django_socialgrants.management.progress import above_progress, progress
from django_socialgrants.storage import rotation
from django_socialgrants.storage.rotation import Outcome, Survey


class Command(BaseCommand):
    help = (
        "Encrypts everything again that another key than the first one has encrypted. May run beside the site, "
        "and be stopped and started again. Exit codes: 0 nothing is left, 1 something is, 2 a key is lost, "
        "128 + signal when stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Count what each key is needed for.")
        parser.add_argument("--no-progress", action="store_true", help="Show no progress bar on a terminal.")

    def handle(self, *args: Any, dry_run: bool, no_progress: bool, **options: Any) -> None:
        code = self.count() if dry_run else self.rotate(shown=not no_progress)
        if code:
            sys.exit(code)

    def count(self) -> int:
        """Say what each key is needed for, also the configured ones that are needed for nothing."""
        surveys = rotation.survey()
        first, *others = rotation.configured_keys()
        roles = {first: _("encrypts"), **dict.fromkeys(others, _("decrypts")), "": _("no ciphertext")}
        for table in surveys:
            for key in dict.fromkeys([first, *others, *sorted(table.by_key)]):
                role, rows = roles.get(key, _("not configured")), table.by_key[key]
                counted = ngettext("%(rows)d row", "%(rows)d rows", rows) % {"rows": rows}
                self.stdout.write(f"{table.table}: {key or '-'} ({role}): {counted}")
        return 2 if rotation.lost_keys(surveys) else 0

    def rotate(self, *, shown: bool) -> int:
        before = rotation.survey()
        total = sum(table.outdated for table in before)
        counted: Counter[tuple[str, Outcome]] = Counter()
        with interruptible() as interruption, progress(total, shown=shown) as advance:
            for row, outcome, error in rotation.rotate():
                table = row._meta.db_table
                counted[table, outcome] += 1
                advance(1)
                if error:
                    with above_progress():
                        self.stderr.write(f"{table} {row.pk}: {_reason(error)}")
                if interruption:
                    break
        self.print_counted(before, counted)
        if interruption:
            self.stderr.write(
                _("Stopped. What is left is done when the command runs again."), self.style.NOTICE
            )
            return 128 + interruption.signal
        return self.conclude(rotation.survey())

    def print_counted(self, surveys: list[Survey], counted: Counter[tuple[str, Outcome]]) -> None:
        for table in surveys:
            rotated, current, unreadable = (
                counted[table.table, outcome]
                for outcome in (Outcome.ROTATED, Outcome.CURRENT, Outcome.UNREADABLE)
            )
            text = _(
                "%(table)s: %(rotated)d rotated, %(current)d already current, %(unreadable)d unreadable"
            ) % {
                "table": table.table,
                "rotated": rotated,
                "current": table.rows - table.outdated + current,
                "unreadable": unreadable,
            }
            self.stdout.write(text)

    def conclude(self, after: list[Survey]) -> int:
        """Say which keys can go and what is left; the exit code."""
        unused, lost = rotation.unused_keys(after), rotation.lost_keys(after)
        left = sum(table.outdated for table in after)
        if unused:
            text = ngettext(
                "The key %(keys)s is no longer used: it can be removed from the settings.",
                "The keys %(keys)s are no longer used: they can be removed from the settings.",
                len(unused),
            )
            self.stderr.write(text % {"keys": ", ".join(unused)}, self.style.SUCCESS)
        if lost:
            text = ngettext(
                "The key %(keys)s is needed, but not configured.",
                "The keys %(keys)s are needed, but not configured.",
                len(lost),
            )
            self.stderr.write(text % {"keys": ", ".join(lost)})
        if left:
            text = ngettext(
                "%(rows)d row is not encrypted with the first key.",
                "%(rows)d rows are not encrypted with the first key.",
                left,
            )
            self.stderr.write(text % {"rows": left})
        return 2 if lost else 1 if left else 0


def _reason(error: DecryptionError) -> str:
    if error.key_known:
        text = _("damaged, or moved here from another row (key %(key)s)")
    elif error.fingerprint:
        text = _("encrypted with the key %(key)s, which is not configured")
    else:
        text = _("no ciphertext")
    return text % {"key": error.fingerprint}
