"""Rows of django-allauth and python-social-auth, and the command that imports them."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_socialgrants.models import ProviderCredentials, UserToken
from tests.due import columns
from tests.sandbox.driver import FIRST

UID = FIRST["ok"]


def run(package, name, *options):
    """The command: its exit code, its JSON document, and what it said."""
    out, err = StringIO(), StringIO()
    try:
        call_command(
            "import_accounts",
            "--from",
            package,
            "--application",
            name,
            "--json",
            *options,
            stdout=out,
            stderr=err,
        )
        code = 0
    except SystemExit as stop:
        code = stop.code
    return code, json.loads(out.getvalue()), err.getvalue()


def refused(package, name, *options):
    """The sentence with which the command refuses, having changed nothing."""
    before = columns()
    with pytest.raises(CommandError) as error:
        run(package, name, *options)
    assert error.value.returncode == 2
    assert columns() == before
    return str(error.value)


def counts(document):
    return {name: number for name, number in document.items() if isinstance(number, int) and number}


def rows_of(package):
    from allauth.socialaccount.models import SocialAccount
    from social_django.models import UserSocialAuth

    return {"allauth": SocialAccount, "social_django": UserSocialAuth}[package].objects.order_by("pk")


def user(number=0):
    return User.objects.get_or_create(username=f"person-{number}")[0]


def account_there(package, uid, *, owner=None, token="their-access-token", age=60, **extra):
    """A row as the package would have made it; its primary key."""
    from allauth.socialaccount.models import SocialAccount, SocialToken
    from social_django.models import UserSocialAuth

    owner, moment = owner or user(), timezone.now() - timedelta(seconds=age)
    if package == "allauth":
        row = SocialAccount.objects.create(user=owner, provider="odnoklassniki", uid=uid, extra_data=extra)
        SocialAccount.objects.filter(pk=row.pk).update(last_login=moment)
        if token:
            SocialToken.objects.create(account=row, token=token, token_secret="their-refresh-token")
        return row.pk
    data = {
        "access_token": token,
        "refresh_token": "their-refresh-token",
        "auth_time": int(moment.timestamp()),
    }
    row = UserSocialAuth.objects.create(
        user=owner, provider="odnoklassniki-oauth2", uid=uid, extra_data=data | extra
    )
    UserSocialAuth.objects.filter(pk=row.pk).update(modified=moment)
    return row.pk


def token_here(owner, uid=UID, **fields):
    values = {"grant_type": "authorization_code", "access_token": "our-access-token"} | fields
    credentials = ProviderCredentials.objects.get(name="ok")
    return UserToken.objects.create(user=owner, credentials=credentials, uid=uid, **values)
