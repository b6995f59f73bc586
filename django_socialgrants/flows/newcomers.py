"""The user who is made for somebody new, with whatever user model a site has."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, models, router
from django.utils.crypto import get_random_string

from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.values import Identity

from .refusal import Refusal

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_NOBODYS_DOMAIN = "socialgrants.invalid"  # RFC 2606: can never be part of anybody's address


def create_user(identity: Identity, credentials: ProviderCredentials) -> AbstractBaseUser:
    """A new user without password and rights, with a random name, and the first and last name of `identity`.

    Works with any user model whose other fields have defaults. The e-mail address is taken over only where each
    user must have one of their own, and nobody has this one: nothing proves that it belongs to whoever is logging
    in, and other parts of a site may trust it. Raises Refusal where the model demands what is not known.
    """
    user = new_user(identity, credentials)
    username = get_user_model().USERNAME_FIELD
    if username in unfit_fields(user):
        raise Refusal("no_account", detail=f"fields: {username}")
    try:
        user.save()
    except (DataError, IntegrityError, ValidationError) as error:
        at_fault = {*unfit_fields(user), *getattr(error, "error_dict", {})}
        if not at_fault:
            raise  # somebody else was faster
        raise Refusal("no_account", detail=f"fields: {', '.join(sorted(at_fault))}") from None
    return user


def new_user(identity: Identity, credentials: ProviderCredentials) -> AbstractBaseUser:
    """The same, not saved, and whether or not it can be."""
    model = get_user_model()
    user: AbstractBaseUser = model()
    random = f"_{get_random_string(12, _LETTERS)}"
    for field in model._meta.concrete_fields:
        if field.name in ("first_name", "last_name") and isinstance(field, models.CharField):
            setattr(user, field.name, getattr(identity, field.name)[: field.max_length])
        elif isinstance(field, models.EmailField) and _is_unique(field):
            setattr(user, field.name, _address(field, identity, f"{credentials.name}{random}"))
        elif field.name == model.USERNAME_FIELD and not field.has_default():
            room = max((field.max_length or 150) - len(random), 1)
            setattr(user, field.name, credentials.name[:room] + random)
    user.set_unusable_password()
    return user


def unfit_fields(user: AbstractBaseUser) -> list[str]:
    """Names of the fields of an unsaved user whose columns can't take what they hold."""
    return [field.name for field in user._meta.concrete_fields if not _fits(user, field)]


def _fits(user: AbstractBaseUser, field: "models.Field[Any, Any]") -> bool:
    value = getattr(user, field.attname)
    filled_in_later = ("auto_now", "auto_now_add", "generated")
    if isinstance(field, models.AutoField) or any(getattr(field, name, False) for name in filled_in_later):
        return True
    if hasattr(value, "resolve_expression"):  # a default that the database knows
        return True
    if value is None:
        return field.null
    if value == "":
        return not field.unique
    try:
        field.to_python(value)
    except ValidationError:
        return False
    return not isinstance(value, str) or len(value) <= (field.max_length or len(value))


def _is_unique(field: "models.Field[Any, Any]") -> bool:
    """Whether no two users may have the same value, by the field itself or by a constraint on it alone."""
    constraints = (one for one in field.model._meta.constraints if isinstance(one, models.UniqueConstraint))
    alone = (one for one in constraints if one.condition is None and len(one.fields or one.expressions) == 1)
    return field.unique or any(
        field.name in one.fields or f"F({field.name})" in repr(one.expressions) for one in alone
    )


def _address(field: "models.Field[Any, Any]", identity: Identity, name: str) -> str | None:
    """The network's address if nobody has it, in whatever case; else none, or one that can be nobody's."""
    address = BaseUserManager.normalize_email(identity.email)
    users = field.model._base_manager.using(router.db_for_write(field.model))
    try:
        field.clean(address, None)
        if address and not users.filter(**{f"{field.name}__iexact": address}).exists():
            return address
    except ValidationError:
        pass
    is_username = field.name == get_user_model().USERNAME_FIELD
    return None if field.null and not is_username else f"{name}@{_NOBODYS_DOMAIN}"
