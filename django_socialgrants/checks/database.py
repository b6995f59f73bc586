"""MySQL and MariaDB, where a database decides what letters there are and which of them are the same."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections, router, transaction
from django.utils.translation import gettext as _

from django_socialgrants.models import UserToken
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.registry import providers

_COLUMNS = """
    SELECT table_name, column_name, character_set_name, collation_name FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name IN (%s, %s) AND character_set_name IS NOT NULL
"""


@register(Tags.database)
def check_character_sets(databases: Iterable[str] | None = None, **kwargs: Any) -> Sequence[CheckMessage]:
    """Names of people can be stored, and ids of users are told apart."""
    return [message for alias in databases or () for message in _check(alias)]


def _check(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    if connection.vendor != "mysql" or not router.allow_migrate_model(alias, UserToken):
        return
    tokens, users = UserToken._meta.db_table, get_user_model()._meta.db_table
    try:
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            cursor.execute("SELECT @@character_set_client")
            [(spoken,)] = cursor.fetchall()
            cursor.execute(_COLUMNS, [tokens, users])
            columns = {f"{row[0]}.{row[1]}": row[2:] for row in cursor.fetchall()}
    except DatabaseError:
        return
    named = [f"{tokens}.profile", f"{users}.first_name", f"{users}.last_name"]
    narrow = [name for name in named if name in columns and columns[name][0] != "utf8mb4"]
    if spoken != "utf8mb4":
        narrow.append(_("the connection"))
    if narrow:
        yield Warning(
            _("database %(alias)s: not utf8mb4: %(places)s") % {"alias": alias, "places": ", ".join(narrow)},
            hint=_(
                "People have names in all scripts, and with emoji: logins of some will fail. Convert the tables "
                "(ALTER TABLE ... CONVERT TO CHARACTER SET utf8mb4), and leave Django's option charset alone."
            ),
            id="socialgrants.W013",
        )
    collation = str(columns.get(f"{tokens}.uid", ("", "_bin"))[1])
    if not collation.endswith("_bin") and (lettered := _networks_with_letters_in_ids()):
        yield Warning(
            _(
                "database %(alias)s: the collation %(collation)s of %(column)s may equate ids of different users"
            )
            % {"alias": alias, "collation": collation, "column": f"{tokens}.uid"},
            hint=_(
                "Nobody gets into another's account, but the second of two alike can't log in. Ids of "
                "%(networks)s are not of digits only: give the column a collation that ends in _bin."
            )
            % {"networks": ", ".join(lettered)},
            id="socialgrants.W014",
        )


def _networks_with_letters_in_ids() -> list[str]:
    try:
        known = providers().values()
    except ImproperlyConfigured:
        return []
    return [network.title for network in known if network.uid_pattern != Provider.uid_pattern]
