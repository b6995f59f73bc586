"""The buttons: forms that post, and nothing that a strict content security policy would stop."""

import re

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, RequestContext, Template
from django.test import RequestFactory

from tests.journey import start_url, warnings_logged


@pytest.fixture
def render(network):
    """What a template makes of a tag on a page that `user` looks at."""

    def render(tag, user=None, **context):
        request = RequestFactory().get("/")
        request.user = user or AnonymousUser()
        return Template(f"{{% load socialgrants %}}{tag}").render(RequestContext(request, context))

    return render


def fields(html):
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))


def labels(html):
    return re.findall(r"<button[^>]*>([^<]*)</button>", html)


def test_a_button_is_a_form_that_posts_with_csrf_token(render, ok_app):
    html = render('{% login_button "ok" %}')
    assert f'method="post" action="{start_url("ok")}"' in html
    assert re.fullmatch(r"\w{64}", fields(html)["csrfmiddlewaretoken"])
    assert labels(html) == ["Login with OK"]
    assert '<button class="socialgrants-button socialgrants-button--ok" type="submit">' in html


def test_a_button_as_rendered_starts_a_login(browser_client, network, ok_app):
    page = browser_client.get("/").content.decode()
    action = re.search(r'action="([^"]+)"', page)[1]
    response = browser_client.post(action, fields(page))
    assert response.status_code == 302
    assert response["Location"].startswith(f"{network.url}/ok/authorize?")


def test_without_next_there_is_no_such_field(render, ok_app):
    assert "next" not in fields(render('{% login_button "ok" %}'))
    assert "next" not in fields(render('{% login_button "ok" next="" %}'))


def test_next_is_escaped(render, ok_app):
    html = render('{% login_button "ok" next=wanted %}', wanted='/me/?a=1&b="><script>')
    assert fields(html)["next"] == "/me/?a=1&amp;b=&quot;&gt;&lt;script&gt;"


def test_a_label_of_ones_own_is_escaped(render, ok_app):
    assert labels(render('{% login_button "ok" label="Come in" %}')) == ["Come in"]
    assert labels(render('{% login_button "ok" label=label %}', label="<b>&")) == ["&lt;b&gt;&amp;"]


def test_a_token_in_the_page_is_that_of_the_request(render, ok_app, mailru_app):
    tokens = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', render("{% login_buttons %}"))
    assert len(tokens) == 2
    assert len(set(tokens)) == 1


def test_all_buttons_are_those_of_all_applications_in_the_order_they_were_made(render, mailru_app, ok_app):
    html = render('{% login_buttons next="/me/" %}')
    assert re.findall(r'action="([^"]+)"', html) == [start_url("mailru"), start_url("ok")]
    assert labels(html) == ["Login with Mail.Ru", "Login with OK"]
    assert html.count('name="next" value="/me/"') == 2
    assert html.startswith('<div class="socialgrants-buttons">')


def test_who_is_logged_in_is_offered_to_connect(render, ok_app):
    assert labels(render('{% login_button "ok" %}', user=User(username="anna"))) == ["Connect OK"]
    assert labels(render("{% login_buttons %}", user=User(username="anna"))) == ["Connect OK"]


def test_a_button_may_start_the_implicit_grant_where_that_is_enabled(render, ok_app, mailru_app):
    type(ok_app).objects.filter(pk=ok_app.pk).update(implicit_enabled=True)
    for tag in ('{% login_button "ok" flow="implicit" %}', '{% login_buttons flow="implicit" %}'):
        assert re.findall(r'action="([^"]+)"', render(tag)) == ["/social/ok/implicit/"]
    assert render('{% login_button "mailru" flow="implicit" %}').strip() == ""


def test_without_applications_there_are_no_buttons(render, db):
    assert labels(render("{% login_buttons %}")) == []


def test_applications_of_networks_that_are_no_longer_listed_have_no_button(
    render, ok_app, mailru_app, settings
):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeMailRu"]
    assert labels(render("{% login_buttons %}")) == ["Login with Mail.Ru"]
    assert render('{% login_button "ok" %}').strip() == ""


@pytest.mark.parametrize("tag", ['{% login_button "nosuch" %}', "{% login_button missing %}"])
def test_an_unknown_name_shows_nothing_and_is_logged(render, ok_app, tag):
    with warnings_logged() as records:
        assert render(f"before{tag}after").split() == ["before", "after"]
    (record,) = records
    assert (record.name, record.levelname) == ("django_socialgrants", "WARNING")


def test_a_page_that_forgot_its_request_still_renders(network, ok_app):
    html = Template('{% load socialgrants %}{% login_button "ok" %}').render(Context())
    assert labels(html) == ["Login with OK"]


def test_nothing_needs_inline_style_or_script(render, ok_app, mailru_app):
    html = render('{% login_button "ok" next="/" label="x" %}{% login_buttons %}')
    assert not re.search(r"<(script|style)|\s(style|on\w+)=|javascript:", html)
