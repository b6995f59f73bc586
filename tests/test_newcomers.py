"""Users that are made for somebody new, with user models of all kinds in real tables."""

import re

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.checks import run_checks
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.db.models.functions import Lower
from django.test.utils import isolate_apps

from django_socialgrants.flows.newcomers import create_user
from django_socialgrants.flows.refusal import Refusal
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Identity
from tests.conftest import ok_profile
from tests.journey import finish, log_in, refused, start
from tests.network import answer

pytestmark = pytest.mark.django_db(transaction=True)

IVAN = Identity("1", first_name="Иннокентий", last_name="Ли", email="Ivan@Example.com")
NOBODYS = r"ok_[a-z0-9]{12}@socialgrants\.invalid"


@pytest.fixture
def use(monkeypatch):
    """Makes a user model, with the fields that are named, the site's own."""
    tables = []

    def make(*constraints, username="login", **fields):
        with isolate_apps("tests"):
            options = {"app_label": "tests", "constraints": list(constraints)}
            if username == "login":
                fields = {"login": models.CharField(max_length=64, unique=True)} | fields
            named = {"__module__": __name__, "USERNAME_FIELD": username, "Meta": type("Meta", (), options)}
            model = type("Person", (AbstractBaseUser,), fields | named)
        with connection.schema_editor() as editor:
            editor.create_model(model)
        tables.append(model)
        monkeypatch.setattr("django_socialgrants.flows.newcomers.get_user_model", lambda: model)
        return model

    yield make
    for model in tables:
        with connection.schema_editor() as editor:
            editor.delete_model(model)


def make(identity=IVAN, name="ok"):
    return create_user(identity, ProviderCredentials(name=name))


def warnings():
    return [message for message in run_checks(tags=["socialgrants"]) if message.id == "socialgrants.W020"]


# --- e-mail addresses -------------------------------------------------------------------------------------


def test_an_address_that_need_not_be_unique_is_not_taken_over(use):
    use(email=models.EmailField(blank=True))
    assert make().email == ""
    assert warnings() == []


UNIQUE = {
    "field": ([], {"unique": True}),
    "constraint": ([models.UniqueConstraint(fields=["email"], name="one")], {}),
    "lower": ([models.UniqueConstraint(Lower("email"), name="one")], {}),
}


@pytest.mark.parametrize(("constraints", "options"), UNIQUE.values(), ids=UNIQUE)
def test_a_unique_address_is_that_of_the_network_or_else_nobodys(use, constraints, options):
    use(*constraints, email=models.EmailField(**options))
    assert make().email == "Ivan@example.com"
    for email in ("Ivan@Example.com", "ivan@example.com", "", "no address", "a" * 300 + "@example.com"):
        assert re.fullmatch(NOBODYS, make(Identity("2", email=email)).email)
    assert warnings() == []


def test_a_unique_address_that_may_be_missing_is_missing_when_somebody_else_has_it(use):
    use(email=models.EmailField(unique=True, null=True))
    emails = [make().email, make().email, make(Identity("3")).email]
    assert emails == ["Ivan@example.com", None, None]


def test_who_is_known_by_an_address_gets_one_in_any_case(use):
    fields = {"first_name": models.CharField(max_length=5), "last_name": models.CharField(max_length=5)}
    use(username="email", email=models.EmailField(unique=True, null=True), **fields)
    first, second = make(), make()
    assert first.email == "Ivan@example.com"
    assert re.fullmatch(NOBODYS, second.email)
    assert (first.first_name, first.last_name) == ("Иннок", "Ли")
    assert not first.has_usable_password()


# --- names ------------------------------------------------------------------------------------------------


def test_a_user_model_without_names_will_do(use):
    use()
    name = "a" * 50
    logins = {make(name=name).login for _ in range(5)}
    assert len(logins) == 5
    assert all(re.fullmatch("a{50}_[a-z0-9]{12}", login) for login in logins)


def test_a_name_that_is_short_is_mostly_random(use):
    use(login=models.CharField(max_length=14, unique=True))
    assert re.fullmatch("o_[a-z0-9]{12}", make().login)
    assert warnings() == []


# --- users that can't be made -----------------------------------------------------------------------------

UNFIT = {
    "required": ("birthday", {"birthday": models.DateField()}),
    "required-number": ("age", {"age": models.IntegerField()}),
    "unique-text": ("phone", {"phone": models.CharField(max_length=20, unique=True)}),
    "short-name": ("login", {"login": models.CharField(max_length=12, unique=True)}),
    "number-as-name": ("login", {"login": models.BigIntegerField(unique=True)}),
}


@pytest.mark.parametrize(("field", "fields"), UNFIT.values(), ids=UNFIT)
def test_a_field_that_nobody_can_fill_in_is_named_beforehand_to_the_visitor_and_in_the_log(
    client, network, ok_app, use, field, fields, caplog
):
    model = use(**fields)
    [warning] = warnings()
    assert field in warning.msg
    if field == "phone":
        assert make().pk
    before = model.objects.count()
    state = start(client)
    page = refused(client, network, 503, "no_account", lambda: finish(client, state), calls=2)
    assert "can&#x27;t make an account" in page.content.decode()
    assert f"fields: {field}" in caplog.text
    assert model.objects.count() == before
    assert not UserToken.objects.exists()


FIT = {
    "default": {"age": models.IntegerField(default=3)},
    "null": {"birthday": models.DateField(null=True)},
    "now": {"joined": models.DateTimeField(auto_now_add=True), "seen": models.DateField(auto_now=True)},
    "blank": {"phone": models.CharField(max_length=20)},
    "in-the-database": {"age": models.IntegerField(db_default=3)},
}


@pytest.mark.parametrize("fields", FIT.values(), ids=FIT)
def test_fields_that_fill_themselves_in_are_no_problem(use, fields):
    use(**fields)
    assert warnings() == []
    assert make().pk and make().pk


def test_a_model_that_validates_itself_tells_which_field_is_wrong(use, monkeypatch):
    model = use(phone=models.CharField(max_length=20))
    save = model.save

    def validate(self, *args, **kwargs):
        self.full_clean()
        save(self, *args, **kwargs)

    monkeypatch.setattr(model, "save", validate)
    with pytest.raises(Refusal) as refusal:
        make()
    assert (refusal.value.reason, refusal.value.detail) == ("no_account", "fields: phone")


def test_sites_that_make_users_themselves_or_not_at_all_are_not_warned(use, settings):
    use(**UNFIT["required"][1])
    settings.SOCIALGRANTS_USER_FACTORY = "tests.test_login.make_one"
    assert warnings() == []
    del settings.SOCIALGRANTS_USER_FACTORY
    settings.SOCIALGRANTS_CREATE_USERS = False
    assert warnings() == []


def test_a_factory_whose_user_does_not_fit_is_a_page_of_ours(client, network, ok_app, settings):
    settings.SOCIALGRANTS_USER_FACTORY = f"{__name__}.make_invalid"
    state = start(client)
    refused(client, network, 503, "no_account", lambda: finish(client, state), calls=2)


def make_invalid(identity, credentials):
    raise ValidationError({"phone": "is missing"})


# --- names of people --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["می\u200cخواهم", "क्\u200dष", "👩\u200d💻"])
def test_joiners_in_names_are_kept(client, network, ok_app, name):
    network.on("/ok/api", answer(ok_profile(name=name, first_name=name)))
    log_in(client)
    token = UserToken.objects.get()
    assert (token.profile["name"], token.user.first_name) == (name, name)
