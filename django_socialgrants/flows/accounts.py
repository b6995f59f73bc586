"""The users of this site and their accounts at networks: made for somebody new, and forgotten on request."""

from collections.abc import Collection
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import connections, models, router, transaction

from django_socialgrants.models import ProviderCredentials, UserToken, UserTokenQuerySet
from django_socialgrants.registry import providers

from .contention import decided
from .refusal import Refusal
from .revocation import say_goodbye


def locked_out_without(tokens: UserTokenQuerySet) -> list[AbstractBaseUser]:
    """Users to whom nothing but `tokens` is a way to log in: they have no password, and no other account."""
    others = UserToken.objects.using(tokens.db).filter(credentials__provider__in=providers())
    owners = tokens.order_by().values("user")
    safe = others.exclude(pk__in=tokens.order_by().values("pk")).filter(user__in=owners).values("user")
    users = get_user_model()._default_manager.using(tokens.db).filter(pk__in=owners).exclude(pk__in=safe)
    return [user for user in users.order_by("pk") if not user.has_usable_password()]


def disconnect(user: AbstractBaseUser, pk: int) -> None:
    """Forget the token `pk` of `user`, unless it is the last way to log in. Raises Refusal."""
    decided(lambda: _disconnect(user, pk))


def _disconnect(user: AbstractBaseUser, pk: int) -> bool:
    own = UserToken.objects.using(router.db_for_write(UserToken)).filter(user_id=user.pk)
    with transaction.atomic(using=own.db):
        _lock(own)
        token = own.select_related("credentials").filter(pk=pk).first()
        if token is None:
            raise Refusal("not_found")
        if locked_out_without(own.filter(pk=pk)):
            raise Refusal("last_login")
        disconnect_all([token])
    return True


def _lock(tokens: UserTokenQuerySet) -> None:
    """Let one of two disconnects wait, and a run that holds some of these rows finish with them first."""
    if connections[tokens.db].features.has_select_for_update:
        list(
            tokens.select_for_update().order_by("pk").values_list("pk")
        )  # in the order in which runs lock rows
    else:
        tokens.update(generation=models.F("generation"))


def forget(user: AbstractBaseUser | AnonymousUser, application: str | None = None) -> int:
    """Forget all tokens of `user`, or those of one application; how many they were.

    Whether there is another way to log in does not matter. Raises UnknownCredentials.
    """
    return 0 if user.pk is None else decided(lambda: _forget(user.pk, application))


def _forget(user_pk: Any, application: str | None) -> int:
    own = UserToken.objects.using(router.db_for_write(UserToken)).filter(user_id=user_pk)
    if application is not None:
        own = own.filter(credentials=ProviderCredentials.objects.using(own.db).named(application))
    with transaction.atomic(using=own.db):
        _lock(own)
        tokens = list(own.select_related("credentials").order_by("pk"))
        disconnect_all(tokens)
    return len(tokens)


def disconnect_all(tokens: Collection[UserToken]) -> None:
    """Delete them. Once the caller's transaction is committed, networks are told and then the signal is sent."""
    tokens = list(tokens)
    models.prefetch_related_objects(tokens, "credentials")
    UserToken.objects.filter(pk__in=[token.pk for token in tokens]).delete()
    transaction.on_commit(partial(say_goodbye, tokens), using=router.db_for_write(UserToken))
