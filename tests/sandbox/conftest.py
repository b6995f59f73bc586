import pytest

from django_socialgrants.sandbox.models import Application


@pytest.fixture(autouse=True)
def _development(settings):
    """The sandbox serves in development only; test runners switch DEBUG off."""
    settings.DEBUG = True


@pytest.fixture
def ok_app(db):
    return Application.objects.create(
        network="ok",
        client_id="512000000000",
        client_secret="00112233445566778899AABB",
        client_key="CGEXAMPLEKEYBABABA",
        name="Example site",
        redirect_uris=["https://site.example/back/"],
        implicit_enabled=True,
        password_enabled=True,
    )


@pytest.fixture
def mailru_app(db):
    return Application.objects.create(
        network="mailru",
        client_id="423004",
        client_secret="3dad9cbf9baaa0360c0f2ba372d25716",
        client_key="7815696ecbf1c96e6894b779456d330e",
        name="Example site",
        redirect_uris=["https://site.example/back/"],
        implicit_enabled=True,
        password_enabled=True,
    )


@pytest.fixture
def vkid_app(db):
    return Application.objects.create(
        network="vkid",
        client_id="51000009",
        client_secret="the-service-token",
        client_key="unused",
        name="Example site",
        redirect_uris=["https://site.example/back/"],
    )


@pytest.fixture
def mailid_app(db):
    return Application.objects.create(
        network="mailid",
        client_id="0123456789abcdef0123456789abcdef",
        client_secret="the-client-secret",
        client_key="unused",
        name="Example site",
        redirect_uris=["https://site.example/back/"],
    )


@pytest.fixture
def other_ok_app(db):
    return Application.objects.create(
        network="ok", client_id="512000000001", client_secret="another secret", client_key="COTHERBABABA"
    )


@pytest.fixture
def other_mailru_app(db):
    return Application.objects.create(
        network="mailru", client_id="423005", client_secret="another secret", client_key="another key"
    )


@pytest.fixture(params=["ok", "mailru"])
def app(request):
    """An application, of each network in turn."""
    return request.getfixturevalue(f"{request.param}_app")
