from functools import cache

from django.conf import settings
from django.db import models


@cache
def token_model() -> type[models.Model]:
    class Token(models.Model):  # noqa: DJ008  # nobody looks at it
        user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
        uid = models.CharField(max_length=32, unique=True)
        access_token = models.TextField()
        profile = models.JSONField()

        class Meta:
            app_label = "by_hand"

    return Token
