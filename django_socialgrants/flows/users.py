"""The user that somebody unknown gets who logs in: the default of SOCIALGRANTS_USER_FACTORY."""

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.utils.crypto import get_random_string

from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.values import Identity


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
