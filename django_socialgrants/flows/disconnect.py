"""Forgetting what users granted, and who could not log in any more after that."""

from collections.abc import Collection

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser

from django_socialgrants import signals
from django_socialgrants.models import UserToken, UserTokenQuerySet
from django_socialgrants.registry import providers


def locked_out_without(tokens: UserTokenQuerySet) -> list[AbstractBaseUser]:
    """Users to whom nothing but `tokens` is a way to log in: they have no password, and no other account."""
    others = UserToken.objects.using(tokens.db).filter(credentials__provider__in=providers())
    owners = tokens.order_by().values("user")
    safe = others.exclude(pk__in=tokens.order_by().values("pk")).filter(user__in=owners).values("user")
    users = get_user_model()._default_manager.using(tokens.db).filter(pk__in=owners).exclude(pk__in=safe)
    return [user for user in users.order_by("pk") if not user.has_usable_password()]


def disconnect_all(tokens: Collection[UserToken]) -> None:
    """Delete them. The signal is sent once the caller's transaction, if any, is committed."""
    UserToken.objects.filter(pk__in=[token.pk for token in tokens]).delete()
    for token in tokens:
        signals.send_on_commit(signals.disconnected, token)
