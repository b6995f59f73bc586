"""What is kept: applications and their health, tokens, and which states were used."""

from .application import ApplicationHealth, ProviderCredentials, ProviderCredentialsQuerySet
from .token import UserToken, UserTokenQuerySet
from .used_state import UsedState

__all__ = [
    "ApplicationHealth",
    "ProviderCredentials",
    "ProviderCredentialsQuerySet",
    "UsedState",
    "UserToken",
    "UserTokenQuerySet",
]
