"""The login of django-allauth and python-social-auth on the sandbox."""

import pytest
from django.contrib.auth.models import User

from tests.sandbox.driver import FIRST

from .logins import log_in_by_allauth, log_in_by_social_django

pytestmark = pytest.mark.usefixtures("configured", "played")


@pytest.mark.parametrize(("provider", "network"), [("odnoklassniki", "ok"), ("mailru", "mailru")])
def test_django_allauth_logs_people_in(client, configured, provider, network):
    from allauth.socialaccount.models import SocialToken

    log_in_by_allauth(client, provider, configured[network])
    token = SocialToken.objects.get()
    assert token.account.uid == FIRST[network]
    assert User.objects.get().pk == token.account.user_id == int(client.session["_auth_user_id"])
    assert token.token_secret


@pytest.mark.parametrize(
    ("backend", "network"),
    [("odnoklassniki-oauth2", "ok"), ("mailru-oauth2", "mailru"), ("mailru", "mailid")],
)
def test_python_social_auth_logs_people_in_and_refreshes(client, configured, backend, network):
    from social_django.models import UserSocialAuth
    from social_django.utils import load_strategy

    log_in_by_social_django(client, backend, configured[network])
    account = UserSocialAuth.objects.get()
    assert account.uid == FIRST[network]
    assert User.objects.get().pk == account.user_id == int(client.session["_auth_user_id"])
    if network == "mailid":
        return  # which gives a refresh token only to those who ask with prompt=consent
    before = account.extra_data["access_token"]
    account.refresh_token(load_strategy())
    assert UserSocialAuth.objects.get().extra_data["access_token"] != before
