"""The users of this site and their accounts at networks: made for somebody new, and forgotten on request."""

from collections.abc import Collection

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models, transaction
from django.utils.crypto import get_random_string

from django_socialgrants import signals
from django_socialgrants.models import ProviderCredentials, UserToken, UserTokenQuerySet
from django_socialgrants.oauth.values import Identity
from django_socialgrants.registry import providers

from .refusal import Refusal


def create_user(identity: Identity, credentials: ProviderCredentials) -> AbstractBaseUser:
    """A new user without password and rights, with a random name, and the first and last name of `identity`.

    Works with any user model whose other fields have defaults. The e-mail address is *not* taken over: nothing
    proves that it belongs to who is logging in, and other parts of a site may trust it.
    """
    model = get_user_model()
    user = model()
    username = model._meta.get_field(model.USERNAME_FIELD)
    random = f"_{get_random_string(12, 'abcdefghijkmnpqrstuvwxyz23456789')}"
    if isinstance(username, models.EmailField):
        random += "@socialgrants.invalid"  # RFC 2606: can never be anybody's address
    room = (getattr(username, "max_length", None) or 150) - len(random)
    setattr(user, model.USERNAME_FIELD, credentials.name[:room] + random)
    for field in model._meta.get_fields():
        if field.name in ("first_name", "last_name") and isinstance(field, models.CharField):
            setattr(user, field.name, getattr(identity, field.name)[: field.max_length])
    user.set_unusable_password()
    user.save()
    return user


def locked_out_without(tokens: UserTokenQuerySet) -> list[AbstractBaseUser]:
    """Users to whom nothing but `tokens` is a way to log in: they have no password, and no other account."""
    others = UserToken.objects.using(tokens.db).filter(credentials__provider__in=providers())
    owners = tokens.order_by().values("user")
    safe = others.exclude(pk__in=tokens.order_by().values("pk")).filter(user__in=owners).values("user")
    users = get_user_model()._default_manager.using(tokens.db).filter(pk__in=owners).exclude(pk__in=safe)
    return [user for user in users.order_by("pk") if not user.has_usable_password()]


def disconnect(user: AbstractBaseUser, pk: int) -> None:
    """Forget the token `pk` of `user`, unless it is the last way to log in. Raises Refusal."""
    own = UserToken.objects.filter(user_id=user.pk)
    with transaction.atomic():
        own.update(
            generation=models.F("generation")
        )  # a lock in every database: of two disconnects one waits
        token = own.filter(pk=pk).first()
        if token is None:
            raise Refusal("not_found")
        if locked_out_without(own.filter(pk=pk)):
            raise Refusal("last_login")
        disconnect_all([token])


def disconnect_all(tokens: Collection[UserToken]) -> None:
    """Delete them. The signal is sent once the caller's transaction, if any, is committed."""
    UserToken.objects.filter(pk__in=[token.pk for token in tokens]).delete()
    for token in tokens:
        signals.send_on_commit(signals.disconnected, token)
