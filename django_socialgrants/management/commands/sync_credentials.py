"""manage.py sync_credentials"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from django_socialgrants.applications.problems import problems
from django_socialgrants.applications.sync import Change, SyncRefused, sync


class Command(BaseCommand):
    help = (
        "Stores the applications of SOCIALGRANTS_CREDENTIALS in the database. Fields that are not named there "
        "stay as they are. The changes go to stdout, without secrets."
    )
    requires_system_checks = []  # what is wrong with the setting is said here, and is exit code 2

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Tell what would change, and change nothing."
        )
        parser.add_argument(
            "--prune",
            action="store_true",
            help="Delete the applications that the setting does not name, with all tokens of their users.",
        )

    def handle(self, *args: Any, dry_run: bool, prune: bool, verbosity: int, **options: Any) -> None:
        try:
            changes = sync(prune=prune, dry_run=dry_run)
        except SyncRefused as refused:
            raise CommandError(_("Nothing was changed.") + f"\n{refused}", returncode=2) from None
        for change in changes:
            self.stdout.write(_lines(change))
            for problem in problems(change.credentials) if change.action != "delete" else ():
                text = f"{change.credentials.name}: {problem.message}. {problem.hint}"
                self.stderr.write(text, self.style.WARNING)
        if verbosity:
            self.stderr.write(_summary(changes, dry_run), self.style.NOTICE)


def _lines(change: Change) -> str:
    """One change, for people and for scripts: always in English."""
    lines = [f"{change.action} {change.credentials.name}"]
    lines += [f"  {field}: {text}" for field, text in change.fields.items()]
    if change.action == "delete":
        lines.append(f"  tokens: {change.tokens}")
    return "\n".join(lines)


def _summary(changes: list[Change], dry_run: bool) -> str:
    if not changes:
        return _("Nothing to change.")
    counts = {
        action: sum(change.action == action for change in changes)
        for action in ("create", "update", "delete")
    }
    numbers = counts | {"tokens": sum(change.tokens for change in changes)}
    if dry_run:
        text = _(
            "Nothing was changed. To create: %(create)d, to update: %(update)d, to delete: %(delete)d, with "
            "%(tokens)d token(s) of users."
        )
    else:
        text = _(
            "Created: %(create)d, updated: %(update)d, deleted: %(delete)d, with %(tokens)d token(s) of users."
        )
    return text % numbers
