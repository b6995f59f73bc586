"""The applications: as the setting declares them, and as the database has them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import Error as DatabaseError
from django.db import router, transaction
from django.utils.translation import gettext as _

from django_socialgrants.applications.declared import declared
from django_socialgrants.applications.problems import problems
from django_socialgrants.models import ProviderCredentials


@register("socialgrants")
def check_declared_credentials(**kwargs: Any) -> Sequence[CheckMessage]:
    """SOCIALGRANTS_CREDENTIALS can be stored, and nothing in it looks wrong."""
    hint = _("sync_credentials stores nothing until this is right.")
    mistakes: list[CheckMessage] = [
        Error(f"SOCIALGRANTS_CREDENTIALS: {mistake}", hint=hint, id="socialgrants.E018")
        for mistake in declared()[1]
    ]
    return [*mistakes, *_warnings("SOCIALGRANTS_CREDENTIALS", _declared_applications())]


@register("socialgrants", deploy=True)
def check_declared_implicit_grants(**kwargs: Any) -> Sequence[CheckMessage]:
    """Nothing is given up unawares."""
    return list(_implicit("SOCIALGRANTS_CREDENTIALS", _declared_applications()))


@register(Tags.database)
def check_stored_credentials(databases: Iterable[str] | None = None, **kwargs: Any) -> Sequence[CheckMessage]:
    """Nothing in the databases that were named looks wrong."""
    table = ProviderCredentials._meta.db_table
    return [
        message for alias in databases or () for message in _warnings(f"{alias}.{table}", _stored_in(alias))
    ]


@register(Tags.database, deploy=True)
def check_stored_implicit_grants(
    databases: Iterable[str] | None = None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """Nothing is given up unawares."""
    table = ProviderCredentials._meta.db_table
    return [
        message for alias in databases or () for message in _implicit(f"{alias}.{table}", _stored_in(alias))
    ]


def _declared_applications() -> list[ProviderCredentials]:
    return [ProviderCredentials(name=name, **fields) for name, fields in declared()[0].items()]


def _stored_in(alias: str) -> list[ProviderCredentials]:
    """The applications in a database; none where there is no table yet, or no database."""
    if not router.allow_migrate_model(alias, ProviderCredentials):
        return []
    try:
        with transaction.atomic(using=alias):
            return list(ProviderCredentials.objects.using(alias).order_by("pk"))
    except DatabaseError:  # migrate runs these checks before it makes the table
        return []


def _warnings(place: str, applications: Iterable[ProviderCredentials]) -> Iterator[CheckMessage]:
    for application in applications:
        for problem in problems(application):
            text = f"{place}: {application.name}: {problem.message}"
            yield Warning(text, hint=problem.hint, id=problem.id)


def _implicit(place: str, applications: Iterable[ProviderCredentials]) -> Iterator[CheckMessage]:
    for application in applications:
        if application.implicit_enabled:
            yield Warning(
                f"{place}: {application.name}: " + _("the implicit grant is enabled"),
                hint=_(
                    "RFC 9700 advises against it, as tokens pass through browsers. Where the network gives codes, "
                    "set implicit_enabled to False; where you need it, silence this check."
                ),
                id="socialgrants.W009",
            )
