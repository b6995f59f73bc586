"""The right to refresh one token: who holds its lease may present its refresh token, and nobody else.

A lease is taken by one conditional UPDATE, ends by itself on the database's clock, and is given back by its
owner alone. One that ended by itself belonged to a process that died or froze: nobody knows what became of its
request, and the token's `reason` says so from then on.
"""

import os
import platform
import secrets

from django.db import router
from django.db.models import Case, F, Q, Value, When

from django_socialgrants.clock import DatabaseNow
from django_socialgrants.conf import conf
from django_socialgrants.models import UserToken, UserTokenQuerySet

OUTCOME_UNKNOWN = "outcome_unknown"
"""The reason of an active token whose refresh may have been carried out without our hearing of it."""


def stored() -> UserTokenQuerySet:
    """All tokens in the database that is written to: a replica may lag behind."""
    return UserToken.objects.using(router.db_for_write(UserToken))


def free() -> Q:
    """Tokens that nobody is refreshing now."""
    return Q(lease_until=None) | Q(lease_until__lt=DatabaseNow())


def new_owner() -> str:
    """A name for one claim; it tells an operator which process of which host has it."""
    return f"{platform.node()[:30]}:{os.getpid()}:{secrets.token_hex(8)}"


def claim(tokens: UserTokenQuerySet, owner: str) -> int:
    """Take the lease of those of `tokens` that are active and free; how many they are."""
    abandoned = When(lease_owner__gt="", then=Value(OUTCOME_UNKNOWN))
    return tokens.filter(free(), state=UserToken.State.ACTIVE).update(
        reason=Case(abandoned, default=F("reason")),  # first: MariaDB sees what stands left of an expression
        lease_owner=owner,
        lease_until=DatabaseNow(conf.LEASE),
    )


def held(token: UserToken) -> UserTokenQuerySet:
    """The row of `token`, if it still is as it was when `token` was claimed, and nobody else has claimed it."""
    return stored().filter(pk=token.pk, generation=token.generation, lease_owner=token.lease_owner)


def release(token: UserToken) -> None:
    """Give one's own lease back, nothing else."""
    stored().filter(pk=token.pk, lease_owner=token.lease_owner).update(lease_owner="", lease_until=None)
