"""The database's clock: the one that all hosts of a site share."""

from datetime import datetime
from typing import Any, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Expression
from django.utils import timezone


class DatabaseNow(Expression):
    """The database's time plus `seconds`, as it keeps a DateTimeField; to be used in queries.

    Django's `Now()` is local time in MariaDB and MySQL, whose connections keep the server's time zone.
    """

    output_field = DateTimeField()

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self.seconds = seconds

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return "(STATEMENT_TIMESTAMP() + make_interval(secs => %s))", [self.seconds]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        shift = f"{self.seconds + utc_offset(connection):+.3f} seconds"
        return "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', %s)", [shift]

    def as_mysql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        microseconds = round((self.seconds + utc_offset(connection)) * 1_000_000)
        return "TIMESTAMPADD(MICROSECOND, %s, UTC_TIMESTAMP(6))", [microseconds]


def database_time(using: str) -> datetime:
    """The time by the clock of the database with that alias; one query."""
    connection = connections[using]
    now = DatabaseNow()
    sql, params = getattr(now, f"as_{connection.vendor}")(None, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}", params)
        [time] = cursor.fetchone()
    for convert in connection.ops.get_db_converters(now):
        time = convert(time, now, connection)
    return cast(datetime, time)


def utc_offset(connection: BaseDatabaseWrapper) -> float:
    """Seconds by which the times in a database without time zones are ahead of UTC."""
    zone = connection.timezone or timezone.get_default_timezone()
    offset = datetime.now(zone).utcoffset()
    return offset.total_seconds() if offset else 0.0
