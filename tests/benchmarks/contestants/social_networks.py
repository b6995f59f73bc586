"""The package's own client, at the benchmark's network; one address stands in the middle of a method there."""

from urllib.parse import urlsplit

from social_core.backends.mailru import MailruOAuth2

from .site import NETWORK


class MailRu(MailruOAuth2):
    AUTHORIZATION_URL = f"{NETWORK}/oauth/authorize"
    ACCESS_TOKEN_URL = f"{NETWORK}/oauth/token"

    def request(self, url, *args, **kwargs):
        return super().request(f"{NETWORK}{urlsplit(url).path}", *args, **kwargs)
