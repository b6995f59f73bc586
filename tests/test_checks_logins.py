"""Checks of what logins need of a site's URLs and templates; those of its users are in test_newcomers.py."""

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.checks import run_checks
from django.http import HttpResponse
from django.urls import include, path

USERS = "W020"  # of tests/test_newcomers.py

social = path("social/", include("django_socialgrants.urls"))


class Translated:
    urlpatterns = i18n_patterns(social)


class OneLanguage:
    urlpatterns = [social]


class Elsewhere:
    urlpatterns = [path("", lambda request: HttpResponse())]


def ids(**options):
    return [
        message.id.removeprefix("socialgrants.") for message in run_checks(tags=["socialgrants"], **options)
    ]


@pytest.mark.parametrize(
    ("urls", "languages", "wanted"),
    [
        (Translated, [("en", "English"), ("ru", "Russian")], ["W021"]),
        (Translated, [("en", "English")], []),
        (OneLanguage, [("en", "English"), ("ru", "Russian")], []),
        (Elsewhere, [("en", "English"), ("ru", "Russian")], []),
    ],
)
def test_a_redirect_uri_should_not_depend_on_a_language(settings, urls, languages, wanted):
    settings.ROOT_URLCONF, settings.LANGUAGES = urls, languages
    assert ids() == wanted


@pytest.mark.parametrize(
    ("site", "wanted"),
    [
        ({}, ["W022"]),
        ({"DEBUG": True}, []),
        ({"SECURE_SSL_REDIRECT": True}, []),
        ({"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}, []),
        ({"SOCIALGRANTS_BASE_URL": "https://site.example"}, []),
        ({"ALLOWED_HOSTS": ["localhost", "127.0.0.1"]}, []),
    ],
)
def test_behind_a_proxy_something_has_to_tell_of_https(settings, site, wanted):
    settings.SECURE_PROXY_SSL_HEADER = None
    settings.ALLOWED_HOSTS = ["site.example"]
    for name, value in site.items():
        setattr(settings, name, value)
    assert "W022" not in ids()
    assert [found for found in ids(include_deployment_checks=True) if found == "W022"] == wanted


BASES = {
    "<html>{% block content %}{% endblock %}</html>": [],
    "<html>{% block head %}{% endblock %}{% block body %}{% endblock %}</html>": ["W023"],
    "{% no_such_tag %}": [],
    "{{ request.user.name }}{% block content %}{% endblock %}": [],
}


@pytest.mark.parametrize(("base", "wanted"), BASES.items(), ids=range(len(BASES)))
def test_a_base_of_the_sites_own_should_show_our_pages(settings, tmp_path, base, wanted):
    (tmp_path / "socialgrants").mkdir()
    (tmp_path / "socialgrants/base.html").write_text(base)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    assert ids() == wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("tests.test_native.respond", []),
        ("tests.test_native.nothing", ["E020"]),
        ("", ["E020"]),
        (7, ["E020"]),
    ],
)
def test_what_answers_native_apps_should_be_a_function(settings, path, wanted):
    settings.SOCIALGRANTS_EXCHANGE_RESPONSE = path
    assert ids() == wanted
