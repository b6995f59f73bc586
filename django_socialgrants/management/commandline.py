"""What commands share: types of arguments, and errors that are told in a sentence."""

from argparse import ArgumentTypeError
from collections.abc import Callable

from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from django_socialgrants.refreshing.report import MISCONFIGURED, RETRY


def at_least(least: int) -> Callable[[str], int]:
    """A type of argument: a whole number that is not less than `least`."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise ArgumentTypeError(_("%(value)d is less than %(least)d") % {"value": value, "least": least})
        return value

    return number


def explained(error: DatabaseError) -> CommandError:
    """The error of a command that got no answer from the database: because it is not migrated, or is away."""
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "socialgrants"]
        unapplied = bool(executor.migration_plan(targets))
    except DatabaseError:
        unapplied = False
    if unapplied:
        text = _("The database lacks migrations. Run: manage.py migrate socialgrants")
        return CommandError(text, returncode=MISCONFIGURED)
    text = _("The database failed: %(error)s") % {"error": type(error).__name__}
    return CommandError(text, returncode=RETRY)
