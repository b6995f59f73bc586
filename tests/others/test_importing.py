"""Accounts of django-allauth and python-social-auth become ours, made by their own logins or broken."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_socialgrants.api import SocialAPI
from django_socialgrants.exceptions import NeedsLogin
from django_socialgrants.flows.refresh_due import refresh_due
from django_socialgrants.models import UserToken
from tests.due import columns, make_due_again
from tests.sandbox.driver import FIRST

from .logins import log_in_by_allauth, log_in_by_social_django, log_in_by_us
from .rows import counts, rows_of, run

pytestmark = pytest.mark.usefixtures("configured", "played")

LOGINS = [
    pytest.param("allauth", "odnoklassniki", "ok", log_in_by_allauth, id="allauth-ok"),
    pytest.param("allauth", "mailru", "mailru", log_in_by_allauth, id="allauth-mailru"),
    pytest.param("social_django", "odnoklassniki-oauth2", "ok", log_in_by_social_django, id="social-ok"),
    pytest.param("social_django", "mailru-oauth2", "mailru", log_in_by_social_django, id="social-mailru"),
]


@pytest.mark.parametrize(("package", "provider", "network", "log_in"), LOGINS)
def test_people_are_known_and_their_tokens_work(client, configured, package, provider, network, log_in):
    log_in(client, provider, configured[network])
    user = User.objects.get()
    code, document, said = run(package, network)
    assert (code, said) == (0, "")
    assert document["from"] == package
    assert document["provider"] == provider
    assert counts(document) == {"accounts": 1, "imported": 1}
    token = UserToken.objects.get()
    assert (token.user, token.uid, token.state) == (user, FIRST[network], "active")
    assert SocialAPI(user, network).friends.get()

    make_due_again(token)
    assert refresh_due([network]).to_json()["refreshed"] == 1
    assert UserToken.objects.get().access_token != token.access_token
    assert SocialAPI(user, network).friends.get()

    log_in_by_us(Client(), network)
    assert User.objects.get() == user


@pytest.mark.parametrize(("package", "provider", "network", "log_in"), LOGINS)
def test_a_second_import_changes_nothing(client, configured, package, provider, network, log_in):
    log_in(client, provider, configured[network])
    run(package, network)
    before, theirs = columns(), list(rows_of(package).values())
    code, document, said = run(package, network)
    assert (code, counts(document), said) == (0, {"accounts": 1, "unchanged": 1}, "")
    assert columns() == before
    assert list(rows_of(package).values()) == theirs


@pytest.mark.parametrize(("package", "provider", "network", "log_in"), LOGINS)
def test_what_is_newer_stays(client, configured, package, provider, network, log_in):
    log_in(client, provider, configured[network])
    make_older(package)
    run(package, network)
    first = UserToken.objects.get()
    log_in(Client(), provider, configured[network])
    code, document, _ = run(package, network)
    assert (code, counts(document)) == (0, {"accounts": 1, "updated": 1})
    second = UserToken.objects.get()
    assert (second.pk, second.user, second.generation) == (first.pk, first.user, 1)
    assert second.access_token != first.access_token
    log_in_by_us(Client(), network)
    third = columns()
    assert counts(run(package, network)[1]) == {"accounts": 1, "unchanged": 1}
    assert columns() == third


def make_older(package):
    """As if everybody had logged in there a minute ago."""
    moment = timezone.now() - timedelta(minutes=1)
    if package == "allauth":
        rows_of(package).update(last_login=moment)
    for account in rows_of(package) if package == "social_django" else ():
        extra = account.extra_data | {"auth_time": int(moment.timestamp())}
        rows_of(package).filter(pk=account.pk).update(extra_data=extra, modified=moment)


def test_accounts_without_tokens_need_one_login_and_are_known_then(client, configured, settings):
    settings.SOCIALACCOUNT_STORE_TOKENS = False
    log_in_by_allauth(client, "odnoklassniki", configured["ok"])
    user = User.objects.get()
    code, document, _ = run("allauth", "ok")
    assert (code, counts(document)) == (0, {"accounts": 1, "imported": 1, "needs_login": 1})
    token = UserToken.objects.get()
    assert (token.state, token.next_refresh_at, bool(token.access_token)) == ("needs_login", None, False)
    with pytest.raises(NeedsLogin):
        SocialAPI(user, "ok").friends.get()
    assert counts(run("allauth", "ok")[1]) == {"accounts": 1, "unchanged": 1}
    log_in_by_us(Client(), "ok")
    assert User.objects.get() == user
    assert SocialAPI(user, "ok").friends.get()


@pytest.mark.parametrize(("package", "provider", "network", "log_in"), LOGINS)
def test_names_come_along_and_nothing_else_that_stands_beside_them(
    client, configured, settings, package, provider, network, log_in
):
    settings.SOCIAL_AUTH_GET_ALL_EXTRA_DATA = True
    log_in(client, provider, configured[network])
    assert len(rows_of(package).get().extra_data) > 5
    run(package, network)
    profile = UserToken.objects.get().profile
    assert profile["name"]
    assert set(profile) == {"name", "first_name", "last_name", "email"}


def test_people_of_oauth_mail_are_known(client, configured):
    log_in_by_social_django(client, "mailru", configured["mailid"])
    user = User.objects.get()
    code, document, _ = run("social_django", "mailid")
    assert (code, document["provider"], counts(document)) == (0, "mailru", {"accounts": 1, "imported": 1})
    token = UserToken.objects.get()
    assert (token.user, token.uid, token.state) == (user, FIRST["mailid"], "active")
    log_in_by_us(Client(), "mailid")
    assert User.objects.get() == user
