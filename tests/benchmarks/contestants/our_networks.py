"""The package's own client, at the benchmark's network."""

from django_socialgrants.providers import mailru

from .site import NETWORK


class MailRu(mailru.MailRu):
    authorization_endpoint = f"{NETWORK}/oauth/authorize"
    token_endpoints = dict.fromkeys(("authorization_code", "refresh_token"), f"{NETWORK}/oauth/token")
    api_endpoint = f"{NETWORK}/platform/api"
