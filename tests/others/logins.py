"""Logins by the packages of others, whose visitors meet the sandbox in place of the networks."""

from urllib.parse import urlsplit

from django.conf import settings

from django_socialgrants.sandbox.models import Application
from tests.sandbox.driver import FIRST

HOSTS = {
    "connect.ok.ru": "ok",
    "api.ok.ru": "ok",
    "www.odnoklassniki.ru": "ok",
    "api.odnoklassniki.ru": "ok",
    "connect.mail.ru": "mailru",
    "appsmail.ru": "mailru",
    "www.appsmail.ru": "mailru",
    "oauth.mail.ru": "mailid",
    "id.vk.ru": "vkid",
}
"""Under which path of the sandbox each host of the networks is played."""


def at_the_sandbox(url):
    """The same address with the sandbox in place of a network's host; any other address as it is."""
    parts = urlsplit(url)
    network = HOSTS.get(parts.netloc)
    if network is None:
        return url
    return f"{settings.SOCIALGRANTS_SANDBOX_URL}/{network}{parts._replace(scheme='', netloc='').geturl()}"


def log_in_by_allauth(client, provider, application, person=None):
    """Log in with the button of django-allauth; its last answer."""
    callback = f"/accounts/{provider}/login/callback/"
    return _log_in(client, f"/accounts/{provider}/login/", callback, application, person)


def log_in_by_social_django(client, backend, application, person=None):
    """Log in with the button of python-social-auth; its last answer."""
    return _log_in(client, f"/auth/login/{backend}/", f"/auth/complete/{backend}/", application, person)


def _log_in(client, start, callback, application, person):
    if (uri := f"http://testserver{callback}") not in application.redirect_uris:
        application.redirect_uris.append(uri)
        application.save()
    response = client.post(start)
    assert response.status_code == 302, response.content.decode()
    dialog = urlsplit(at_the_sandbox(response["Location"]))
    form = {"decision": "allow", "person": person or FIRST[application.network]}
    response = client.post(f"{dialog.path}?{dialog.query}", form)
    assert response.status_code == 302, response.content.decode()
    response = client.get(response["Location"].removeprefix("http://testserver"))
    assert response.status_code == 302, response.content.decode()
    return response


def log_in_by_us(client, name, person=None):
    """Log in with our own button; our last answer."""
    start, callback = (f"/social/{name}/code/{path}" for path in ("", "callback/"))
    return _log_in(client, start, callback, Application.objects.get(network=name), person)
