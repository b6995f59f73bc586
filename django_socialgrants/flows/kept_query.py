"""A user's token, by a query that is put together only once.

Django takes longer to write this query than the network call takes that follows it, so its SQL is kept: the first
signed call of a request costs about as much CPU as a plain pooled POST, and would cost nearly twice as much
(`python -m tests.benchmarks calls`). Before and after that everything is Django's: its values for parameters, its
converters, its models.
"""

from functools import lru_cache
from typing import Any, TypeVar

from django.db import connections, models, router
from django.db.models.expressions import RawSQL

from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.storage.clock import utc_offset


def latest_token(user_pk: Any, application: str, *, uid: str | None = None) -> UserToken | None:
    """The token that a user granted most recently to the application of that name, read `with_time()`.

    `uid` chooses among several accounts. Asks the database that is written to: a replica that lags does not know
    who has just granted something, or disconnected.
    """
    using = router.db_for_write(UserToken)
    connection = connections[using]
    prepared = _PreparedLookup.of(using, uid is not None, utc_offset(connection))
    user = UserToken._meta.get_field("user").get_db_prep_value(user_pk, connection)
    return prepared.first(connection, {"user": user, "application": application, "uid": uid})


_Model = TypeVar("_Model", bound=models.Model)
_Columns = list[tuple[str, int]]
"""Attributes of a model, and where in a row they are."""


class _Later(str):
    """The name of a parameter whose value is not known yet."""


class _PreparedLookup:
    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, using: str, by_uid: bool, offset: float) -> "_PreparedLookup":
        """The one for a database, the time of whose clock is part of the query."""
        return cls(using, by_uid)

    def __init__(self, using: str, by_uid: bool) -> None:
        self._using = using
        names = {"user": "user", "credentials__name": "application"} | ({"uid": "uid"} if by_uid else {})
        wanted = {field: RawSQL("%s", [_Later(name)]) for field, name in names.items()}  # noqa: S611
        tokens = UserToken.objects.with_time().filter(**wanted).order_by("-created_at", "-pk")[:1]
        # Of its own: what is kept here must not keep anybody's connection open.
        connection = connections[using].copy()
        try:
            compiler = tokens.query.get_compiler(connection=connection)
            self._sql, self._params = compiler.as_sql()
            expressions = [column[0] for column in compiler.select]
            self._converters = list(compiler.get_converters(expressions).items())
        finally:
            connection.close()
        (credentials,) = compiler.klass_info["related_klass_infos"]
        self._token, self._credentials = (
            [(expressions[position].target.attname, position) for position in info["select_fields"]]
            for info in (compiler.klass_info, credentials)
        )
        self._annotations = list(compiler.annotation_col_map.items())

    def first(self, connection: Any, values: dict[str, Any]) -> UserToken | None:
        params = [values[param] if isinstance(param, _Later) else param for param in self._params]
        with connection.cursor() as cursor:
            cursor.execute(self._sql, params)
            found = cursor.fetchone()
        if found is None:
            return None
        row = list(found)
        for position, (converters, expression) in self._converters:
            for convert in converters:
                row[position] = convert(row[position], expression, connection)
        token = self._from_db(UserToken, self._token, row)
        token.credentials = self._from_db(ProviderCredentials, self._credentials, row)
        for name, position in self._annotations:
            setattr(token, name, row[position])
        return token

    def _from_db(self, model: type[_Model], columns: _Columns, row: list[Any]) -> _Model:
        return model.from_db(
            self._using, [name for name, _ in columns], [row[position] for _, position in columns]
        )
