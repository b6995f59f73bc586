"""django-allauth, unmodified but for the network's host."""

from .site import APPLICATION, NETWORK, logins, set_up
from .work import serve


def main() -> None:
    set_up(
        [
            "allauth",
            "allauth.account",
            "allauth.socialaccount",
            "allauth.socialaccount.providers.mailru",
        ],
        "tests.benchmarks.contestants.allauth_urls",
        MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"],
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        ACCOUNT_EMAIL_VERIFICATION="none",
        SOCIALACCOUNT_STORE_TOKENS=True,
        SOCIALACCOUNT_PROVIDERS={
            "mailru": {
                "APPS": [
                    {"client_id": APPLICATION["client_id"], "secret": APPLICATION["client_secret"], "key": ""}
                ]
            }
        },
    )
    from allauth.socialaccount.models import SocialAccount, SocialToken
    from allauth.socialaccount.providers.mailru.views import MailRuOAuth2Adapter
    from django.test import RequestFactory

    MailRuOAuth2Adapter.access_token_url = f"{NETWORK}/oauth/token"
    MailRuOAuth2Adapter.authorize_url = f"{NETWORK}/oauth/authorize"
    MailRuOAuth2Adapter.profile_url = f"{NETWORK}/platform/api"

    def tokens() -> int:
        return SocialAccount.objects.filter(socialtoken__in=SocialToken.objects.exclude(token="")).count()

    def call(count: int, round: int) -> int:
        """The one call that it makes: for the profile."""
        request = RequestFactory().get("/")
        request.session = {}
        adapter = MailRuOAuth2Adapter(request)
        app = adapter.get_provider().app
        done = 0
        for _ in range(count):
            login = adapter.complete_login(request, app, None, response={"x_mailru_vid": "1"})
            done += login.account.uid == "1"
        return done

    serve(
        {
            "login": logins("/accounts/mailru/login/", "/accounts/mailru/login/callback/", tokens),
            "call": call,
        }
    )


if __name__ == "__main__":
    main()
