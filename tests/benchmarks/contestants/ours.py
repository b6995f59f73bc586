"""django_socialgrants."""

import os
from datetime import timedelta

from .site import APPLICATION, NETWORK, logins, set_up
from .work import serve


def main() -> None:
    set_up(
        ["django_socialgrants"],
        "tests.benchmarks.contestants.our_urls",
        AUTHENTICATION_BACKENDS=["django_socialgrants.backends.SocialGrantsBackend"],
        SOCIALGRANTS_PROVIDERS=["tests.benchmarks.contestants.our_networks.MailRu"],
        SOCIALGRANTS_INSECURE_LOOPBACK=True,
        SOCIALGRANTS_CA_BUNDLE=os.environ.get("REQUESTS_CA_BUNDLE"),
    )
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from django_socialgrants.api import SocialAPI
    from django_socialgrants.models import ProviderCredentials, UserToken
    from django_socialgrants.oauth.values import Circuit, Credentials, Token
    from django_socialgrants.providers.mailru import MailRu
    from django_socialgrants.providers.ok import OK

    application = ProviderCredentials.objects.create(name="mailru", provider="mailru", **APPLICATION)
    caller = get_user_model().objects.create_user("caller")
    UserToken.objects.create(
        user=caller,
        credentials=application,
        uid="1",
        access_token="t1",
        refresh_token="r1",
        expires_at=timezone.now() + timedelta(days=1),
    )

    def call(count: int, round: int) -> int:
        answers = (SocialAPI(caller, "mailru").call("users.getInfo") for _ in range(count))
        return sum(answer[0]["uid"] == "1" for answer in answers)

    def sign(count: int, round: int, network: str) -> int:
        provider = {"ok": OK, "mailru": MailRu}[network]()
        credentials = Credentials("700000", "s" * 32, "k" * 32)
        token = Token("t" * 60, uid="1")
        done = 0
        for _ in range(count):
            request = provider.api_request(
                credentials, token, "friends.get", {"fields": "uid,name", "count": 10}, Circuit.SERVER_SERVER
            )
            done += len(str(request.params["sig"])) == 32
        return done

    def sessions(count: int, round: int) -> int:
        from django.contrib.sessions.models import Session

        return Session.objects.filter(expire_date__gt=timezone.now() + timedelta(seconds=630)).count()

    serve(
        {
            "login": logins(
                "/social/mailru/code/",
                "/social/mailru/code/callback/",
                UserToken.objects.exclude(user=caller).filter(access_token__isnull=False).count,
            ),
            "call": call,
            "sign": sign,
            "sessions": sessions,
        }
    )


if __name__ == "__main__":
    assert NETWORK or "BENCHMARK_NETWORK" not in os.environ
    main()
