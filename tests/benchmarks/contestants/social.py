"""social-auth-app-django, unmodified but for the network's host."""

from .site import APPLICATION, logins, set_up
from .work import serve


def main() -> None:
    set_up(
        ["social_django"],
        "tests.benchmarks.contestants.social_urls",
        AUTHENTICATION_BACKENDS=["tests.benchmarks.contestants.social_networks.MailRu"],
        SOCIAL_AUTH_MAILRU_OAUTH2_KEY=APPLICATION["client_id"],
        SOCIAL_AUTH_MAILRU_OAUTH2_SECRET=APPLICATION["client_secret"],
        SOCIAL_AUTH_URL_NAMESPACE="social",
    )
    from social_django.models import UserSocialAuth
    from social_django.utils import load_backend, load_strategy

    def tokens() -> int:
        return UserSocialAuth.objects.filter(extra_data__access_token__isnull=False).count()

    def call(count: int, round: int) -> int:
        """The one call that it makes: for the profile."""
        done = 0
        for _ in range(count):
            backend = load_backend(load_strategy(), "mailru-oauth2", redirect_uri="/")
            done += backend.user_data("t1")["uid"] == "1"
        return done

    serve(
        {
            "login": logins("/login/mailru-oauth2/", "/complete/mailru-oauth2/", tokens),
            "call": call,
        }
    )


if __name__ == "__main__":
    main()
