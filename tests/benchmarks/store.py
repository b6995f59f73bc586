"""Tokens in the benchmark's database, as many and as due as it takes."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import CharField, DateTimeField, DurationField, ExpressionWrapper, F, Value
from django.db.models.functions import Concat
from django.utils import timezone


def fill(count: int) -> Any:
    """The one application, which has nothing but `count` tokens, all due."""
    from django.contrib.auth.models import User

    from django_socialgrants.models import ProviderCredentials
    from tests.processes.conftest import make_due

    User.objects.all().delete()
    ProviderCredentials.objects.all().delete()
    application = ProviderCredentials.objects.create(
        name="mailru", provider="mailru", client_id="1", client_secret="s" * 32, client_key="k" * 32
    )
    make_due(application, count)
    analyze()
    return application


def make_due_again(*, apart: float = 0) -> None:
    """All that `fill` made, in the same instant or so many seconds `apart`; they are valid for a minute more."""
    from django_socialgrants.models import UserToken

    now = timezone.now()
    tokens = UserToken.objects.exclude(uid__startswith="9-")
    number = F("id") - (tokens.order_by("id").values_list("id", flat=True).first() or 0)
    offset = ExpressionWrapper(number * Value(timedelta(seconds=apart)), output_field=DurationField())
    since = Value(now - timedelta(seconds=20 + apart * tokens.count()), output_field=DateTimeField())
    tokens.update(
        next_refresh_at=ExpressionWrapper(since + offset, output_field=DateTimeField()),
        expires_at=now + timedelta(seconds=100),
        refreshed_at=None,
    )
    analyze()


def surround(application: Any, count: int) -> None:
    """Have `count` tokens that are not due beside those that are."""
    from django.contrib.auth.models import User

    from django_socialgrants.models import UserToken

    owner, now = User.objects.get(), timezone.now()
    have = UserToken.objects.filter(uid__startswith="9-").count()
    if not have:
        have = min(count, 1000)
        UserToken.objects.bulk_create(
            UserToken(
                user=owner,
                credentials=application,
                uid=f"9-{number:06}",
                access_token="a" * 32,
                refresh_token="r" * 32,
                expires_at=now + timedelta(seconds=100_000 + 80 * number),
            )
            for number in range(have)
        )
    table = connection.ops.quote_name(UserToken._meta.db_table)
    names = [field.attname for field in UserToken._meta.concrete_fields if field.attname not in ("id", "uid")]
    columns = ", ".join(connection.ops.quote_name(name) for name in (*names, "uid"))
    while have < count:
        copied = UserToken.objects.filter(uid__startswith="9-")
        copied = copied.annotate(
            copy=Concat(Value("9-"), Value(f"{have}-"), F("id"), output_field=CharField())
        )
        several = copied.order_by("-pk").values_list(*names, "copy")[: count - have]
        select, params = several.query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} ({columns}) {select}", params)
        have = min(2 * have, count)
    analyze()


def analyze() -> None:
    """Let the database look at its tables, as it does in its own time elsewhere."""
    from django_socialgrants.models import UserToken

    table = connection.ops.quote_name(UserToken._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")
