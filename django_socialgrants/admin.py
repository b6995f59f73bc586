"""What Django's admin shows of this package; imported only where `django.contrib.admin` is installed."""

from django.contrib import admin

from .administration.credentials import ProviderCredentialsAdmin
from .administration.tokens import UserTokenAdmin
from .models import ProviderCredentials, UserToken

admin.site.register(ProviderCredentials, ProviderCredentialsAdmin)
admin.site.register(UserToken, UserTokenAdmin)
