"""The authentication backend for AUTHENTICATION_BACKENDS."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import User
from django.http import HttpRequest

from .flows.login import Granted, link


class SocialGrantsBackend(BaseBackend):
    """Knows users by the accounts of networks that are connected to them. It gives no permissions."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, granted: Granted | None = None
    ) -> User | None:
        """The owner of what was granted, made if need be. Raises Refusal for whoever may not log in."""
        return None if granted is None else link(granted).user

    def get_user(self, user_id: Any) -> User | None:
        user = get_user_model()._default_manager.filter(pk=user_id).first()
        return user if user is not None and user.is_active else None
