"""The accounts that django-allauth and python-social-auth keep, read through the models of those packages.

No code of theirs is imported, and nothing in their tables is changed. Whether an account can be believed, and what
becomes of it, is decided in `importing`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections, models, router
from django.utils import timezone
from django.utils.translation import gettext as _

from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.reading import seconds

_LONGEST_LIFE = 2 * 365 * 24 * 3600
"""What python-social-auth calls "expires" is a life in seconds up to here, and a time beyond."""

_BROKEN: Mapping[str, Any] = MappingProxyType({})


class ImportRefused(Exception):
    """Nothing can be imported; the message tells an operator why."""


@dataclass(frozen=True)
class Found:
    """One account as the other package keeps it, unchecked; without an access token it has none.

    `expires_at` is None where the package does not know it, `details` are what the network said about the person.
    `is_foreign` says that the account belongs, or may belong, to another application at the network, `is_broken`
    that it can't be read.
    """

    pk: Any
    user_id: Any
    uid: Any
    granted_at: datetime
    access_token: Any = field(default="", repr=False)
    refresh_token: Any = field(default="", repr=False)
    token_type: Any = ""
    scope: Any = ""
    expires_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_foreign: bool = False
    is_broken: bool = False


@dataclass(frozen=True)
class Source:
    """The accounts of one provider of the other package: all their rows, and how to read some of them."""

    rows: models.QuerySet[Any]
    read: Callable[[list[Any]], Iterator[Found]]

    def page(self, after: Any, size: int) -> list[Found]:
        """The next accounts behind the primary key `after`, in order; None = the first ones."""
        rows = self.rows if after is None else self.rows.filter(pk__gt=after)
        return list(self.read(list(rows.order_by("pk")[:size])))


def allauth(provider: str, application: ProviderCredentials) -> Source:
    """Accounts of django-allauth; `provider` is the id of its provider. Raises ImportRefused."""
    package = "django-allauth", "allauth.socialaccount"
    accounts = _rows(*package, "SocialAccount", "user", "provider", "uid", "extra_data", "last_login")
    granted_by = _rows(*package, "SocialToken", "account", "app", "token", "token_secret", "expires_at")
    applications = list(
        _allauth_applications(provider, _rows(*package, "SocialApp", "provider", "client_id"))
    )
    client_ids = {client_id for _pk, client_id, _scope in applications}
    _require_ours(package[0], provider, client_ids, application)
    ours = {pk: scope for pk, client_id, scope in applications if client_id == application.client_id}
    scope = next(iter(ours.values()))
    # A token without application was granted to one that stands in the settings, or was deleted.
    app_ids = {None} if len(client_ids) == 1 else set()
    app_ids |= ours.keys() - {None}
    columns = ("account_id", "app_id", "token", "token_secret", "expires_at")
    tokens = granted_by.order_by("pk").values_list(*columns, named=True)

    def read(page: list[Any]) -> Iterator[Found]:
        granted: dict[Any, list[Any]] = {}
        for token in tokens.filter(account__in=[row.pk for row in page]):
            granted.setdefault(token.account_id, []).append(token)
        for row in page:
            found = granted.get(row.pk, [])
            usable = [token for token in found if token.app_id in app_ids]
            yield Found(
                pk=row.pk,
                user_id=row.user_id,
                uid=row.uid,
                granted_at=row.last_login,
                access_token=usable[-1].token if usable else "",
                refresh_token=usable[-1].token_secret if usable else "",
                scope=scope if usable else "",
                expires_at=usable[-1].expires_at if usable else None,
                details=_names(_object(row.extra_data)),
                is_foreign=not usable and (bool(found) or None not in app_ids),
            )

    columns = ("pk", "user_id", "uid", "extra_data", "last_login")
    return Source(accounts.filter(provider=provider).values_list(*columns, named=True), read)


def _allauth_applications(provider: str, rows: models.QuerySet[Any]) -> Iterator[tuple[Any, str, Any]]:
    """Primary key (None in the settings), client id and scope of those behind a provider."""
    configured = getattr(settings, "SOCIALACCOUNT_PROVIDERS", {})
    scope = configured.get(provider, {}).get("SCOPE", "")
    for app in rows:
        if provider in (app.provider, getattr(app, "provider_id", "")):
            yield app.pk, app.client_id, (getattr(app, "settings", None) or {}).get("scope", scope)
    for name, options in configured.items():
        for app in options.get("APPS") or [options.get("APP") or {}]:
            if provider in (name, app.get("provider_id")) and "client_id" in app:
                yield None, str(app["client_id"]), (app.get("settings") or {}).get("scope", scope)


def social_django(provider: str, application: ProviderCredentials) -> Source:
    """Accounts of python-social-auth; `provider` is the name of its backend. Raises ImportRefused."""
    package = "social-auth-app-django", "social_django"
    rows = _rows(*package, "UserSocialAuth", "user", "provider", "uid", "extra_data")
    client_id, asked = _social_setting(provider, "KEY"), _social_setting(provider, "SCOPE")
    _require_ours(package[0], provider, {str(client_id)} if client_id else set(), application)
    uid_pattern = application.get_provider().uid_pattern

    def read(page: list[Any]) -> Iterator[Found]:
        for row in page:
            extra = _object(row.extra_data)
            saved = getattr(row, "modified", None) or timezone.now()
            granted_at = min(_moment(extra.get("auth_time")) or saved, saved)
            yield Found(
                pk=row.pk,
                user_id=row.user_id,
                # oauth.mail.ru was known by the e-mail address, which anybody may get after its owner
                uid=row.uid if uid_pattern.fullmatch(row.uid) else extra.get("id"),
                granted_at=granted_at,
                access_token=extra.get("access_token"),
                refresh_token=extra.get("refresh_token"),
                token_type=extra.get("token_type"),
                scope=extra.get("scope") or asked,
                expires_at=_expiry(extra, granted_at),
                details=_names(extra),
                is_broken=extra is _BROKEN,
            )

    columns = (
        "pk",
        "user_id",
        "uid",
        "extra_data",
        *(["modified"] if hasattr(rows.model, "modified") else []),
    )
    return Source(rows.filter(provider=provider).values_list(*columns, named=True), read)


def _social_setting(backend: str, name: str) -> Any:
    """A setting as python-social-auth looks it up: the backend's own, else that of all."""
    own = f"SOCIAL_AUTH_{backend}_{name}".upper().replace("-", "_")
    return getattr(settings, own, getattr(settings, f"SOCIAL_AUTH_{name}", ""))


def _expiry(extra: Mapping[str, Any], granted_at: datetime) -> datetime | None:
    """When an access token of python-social-auth ends, which has kept that under three names."""
    life = seconds(extra.get("expires_in"))
    if life is None and (moment := seconds(extra.get("expires_on"))) is not None:
        return _moment(moment)
    if life is None and (life := seconds(extra.get("expires"))) is not None and life > _LONGEST_LIFE:
        return _moment(life)
    return None if life is None else granted_at + timedelta(seconds=life)


def _moment(timestamp: object) -> datetime | None:
    """A Unix timestamp as this site keeps times, None for anything else."""
    number = seconds(timestamp)
    if not number:
        return None
    moment = datetime.fromtimestamp(number, UTC)
    return moment if settings.USE_TZ else timezone.make_naive(moment)


def _object(value: Any) -> Mapping[str, Any]:
    """A JSON object, also from a column that holds its text; _BROKEN if it is not one."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError:
            return _BROKEN
    return value if isinstance(value, Mapping) else _BROKEN


def _names(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Who somebody is, for display. The rest stays there: python-social-auth may keep further secrets in it."""
    return {name: extra[name] for name in ("name", "first_name", "last_name", "email") if name in extra}


def _rows(package: str, app: str, name: str, *needed: str) -> models.QuerySet[Any]:
    """All rows of a model of the other package, where it writes them. Raises ImportRefused."""
    try:
        model = apps.get_model(app.rpartition(".")[2], name)
    except LookupError:
        text = _("%(package)s is not installed: “%(app)s” is not in INSTALLED_APPS.")
        raise ImportRefused(text % {"package": package, "app": app}) from None
    alias, fields = (
        router.db_for_write(model),
        {column.name: column for column in model._meta.concrete_fields},
    )
    missing = [*(set(needed) - fields.keys()), *_missing_columns(model, alias)]
    if missing:
        text = _(
            "%(table)s, a table of %(package)s, lacks %(columns)s: migrate it, or install another version."
        )
        names = {"table": model._meta.db_table, "package": package, "columns": ", ".join(sorted(missing))}
        raise ImportRefused(text % names)
    if "user" in needed and fields["user"].related_model is not get_user_model():
        raise ImportRefused(
            _("The users of %(package)s are not those of AUTH_USER_MODEL.") % {"package": package}
        )
    rows: models.QuerySet[Any] = model._base_manager.using(alias)
    return rows


def _missing_columns(model: type[models.Model], alias: str) -> list[str]:
    """The columns that the model has and its table has not."""
    with connections[alias].cursor() as cursor:
        introspection, table = connections[alias].introspection, model._meta.db_table
        described = table in introspection.table_names(cursor) and introspection.get_table_description(
            cursor, table
        )
    there = {column.name for column in described or ()}
    return sorted({str(field.column) for field in model._meta.concrete_fields} - there)


def _require_ours(
    package: str, provider: str, client_ids: set[str], application: ProviderCredentials
) -> None:
    """Refuse accounts of another application: their user ids may be those of other people at ours."""
    if application.client_id in client_ids:
        return
    names = {
        "package": package,
        "provider": provider,
        "name": application.name,
        "ours": application.client_id,
    }
    if not client_ids:
        text = _(
            "%(package)s does not say which application its “%(provider)s” accounts belong to. Keep its "
            "configuration until they are imported."
        )
        raise ImportRefused(text % names)
    text = _(
        "The “%(provider)s” accounts of %(package)s belong to the application %(theirs)s, “%(name)s” is %(ours)s. "
        "User ids are given out for each application (at OK), so they may be those of other people here; and "
        "tokens of one application are worth nothing to another. Only accounts of the same application can be "
        "imported."
    )
    raise ImportRefused(text % (names | {"theirs": ", ".join(sorted(client_ids))}))
