"""The implicit flow as people with a browser live it: what the network puts behind `#` is seen by nobody else."""

import json
import shutil
import socket
import socketserver
import ssl
import threading
from contextlib import suppress
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.contrib.auth.models import User
from django.core.signals import request_started
from django.http import HttpResponse
from django.template import RequestContext, Template
from django.urls import path, reverse
from django.utils import timezone

from django_socialgrants.flows.refusal import REASONS
from django_socialgrants.models import UsedState, UserToken
from django_socialgrants.sandbox.models import AccessToken, Application
from django_socialgrants.sandbox.people import PEOPLE
from django_socialgrants.sandbox.tokens import grant_implicitly
from tests import urls
from tests.journey import callback_url

from .conftest import FLAGS, PATIENCE

NETWORKS = ["ok", "mailru"]
PERSON = {network: list(people)[1] for network, people in PEOPLE.items()}
TWO_SITES = [("127.0.0.1", "localhost"), ("localhost", "127.0.0.1")]
ONE_SITE = ("127.0.0.1", "127.0.0.1")
FAILED = "#socialgrants-failed"
TOKEN = "a-token-from-the-fragment"


def buttons(request):
    """A site's own page, with buttons of the implicit flow."""
    template = Template(
        '{% load socialgrants %}<p id="user">{{ request.user }}</p>'
        '{% login_button "ok" flow="implicit" %}{% login_button "mailru" flow="implicit" %}'
    )
    return HttpResponse(template.render(RequestContext(request)))


urlpatterns = [path("", buttons), *urls.urlpatterns]


def start_url(name="ok"):
    return reverse("socialgrants:implicit", args=[name])


def back_url(name="ok"):
    return reverse("socialgrants:implicit_callback", args=[name])


def button(network):
    return f".socialgrants-button--{network}"


@pytest.fixture(autouse=True)
def _site_with_buttons(settings):
    settings.ROOT_URLCONF = __name__


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    """A browser that also keeps a log of what it sends and where it goes."""
    selenium = pytest.importorskip("selenium.webdriver")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("chromium and chromedriver are not both installed")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": "en"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with selenium.Chrome(options=options, service=selenium.ChromeService(chromedriver)) as driver:
        driver.implicitly_wait(PATIENCE)
        yield driver


@pytest.fixture
def browser(browser):
    events(browser)
    return browser


def events(browser):
    """What the browser has sent, and where it has gone, since it was asked last: (method, parameters)."""
    entries = (json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance"))
    return [(entry["method"], entry["params"]) for entry in entries]


@pytest.fixture
def requests(site):
    """All that servers, ours and the network's, are told of each request but its body: what logs are made of."""
    seen = []

    def note(sender, environ, **kwargs):
        seen.append({name: value for name, value in environ.items() if isinstance(value, str)})

    request_started.connect(note)
    yield seen
    request_started.disconnect(note)


class Gate:
    """Holds posted fragments back, so that the browser can be looked at while it waits for the first answer."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, get_response):
        def middleware(request):
            if request.method == "POST" and request.path.endswith("/implicit/callback/"):
                self.reached.set()
                self.opened.wait(PATIENCE)
            return get_response(request)

        return middleware


gate = Gate()


@pytest.fixture
def held(settings, in_force):
    gate.reached.clear()
    gate.opened.clear()
    in_force(MIDDLEWARE=[f"{__name__}.gate", *settings.MIDDLEWARE])
    yield gate
    gate.opened.set()


def begin(browser, site, network="ok"):
    """Go to the network's dialog."""
    browser.open(site.url("/"))
    browser.press(button(network))
    assert browser.origin == site.network_origin


def allow(browser, network="ok"):
    browser.answer("allow", PERSON[network])


def log_in(browser, site, network="ok"):
    begin(browser, site, network)
    allow(browser, network)
    browser.wait_until(lambda: browser.path == "/")


def state_of(browser):
    """The state in the address of the network's dialog."""
    return parse_qs(urlsplit(browser.driver.current_url).query)["state"][0]


def granted(network, state, **changes):
    """A fragment of the network, without its dialog."""
    application = Application.objects.get(network=network)
    access = grant_implicitly(application, PERSON[network], "").access
    fields = {"access_token": access.value, "expires_in": "1800", "state": state} | changes
    return urlencode(fields)


def assert_logged_in(browser, site, network="ok"):
    browser.open(site.url("/"))
    token = UserToken.objects.select_related("user").get(credentials__name=network)
    assert (token.uid, token.grant_type) == (PERSON[network], "implicit")
    assert browser.text("#user") == token.user.username


def assert_anonymous(browser, site):
    browser.open(site.url("/"))
    assert browser.text("#user") == "AnonymousUser"
    assert not User.objects.exists()


def posts(site, network="ok"):
    """How often the page was asked for or posted to."""
    return site.visits.count(back_url(network))


def secrets_of(network):
    """What the network gave: every token of the sandbox, whoever it went to, and what was made of it."""
    sessions = AccessToken.objects.filter(application__network=network).exclude(session_secret="")
    return [secret for session in sessions for secret in (session.value, session.session_secret)]


# --- logging in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "site"),
    [("ok", TWO_SITES[0]), ("mailru", TWO_SITES[1]), ("mailru", ONE_SITE)],
    indirect=["site"],
)
def test_a_visitor_logs_in_as_who_they_are_at_the_network(browser, site, network):
    log_in(browser, site, network)
    assert browser.origin == site.origin
    assert_logged_in(browser, site, network)
    assert posts(site, network) == 2


@pytest.mark.parametrize("network", NETWORKS)
def test_strict_cookies_are_no_hindrance(browser, site, settings, network):
    settings.SESSION_COOKIE_SAMESITE = settings.CSRF_COOKIE_SAMESITE = "Strict"
    log_in(browser, site, network)
    assert_logged_in(browser, site, network)
    assert posts(site, network) == 2


def test_strict_cookies_are_no_hindrance_to_a_site_that_keeps_csrf_tokens_in_sessions(
    browser, site, settings
):
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    settings.CSRF_USE_SESSIONS = True
    log_in(browser, site)
    assert_logged_in(browser, site)


def test_the_start_page_leads_on_to_where_the_visitor_wanted(browser, site):
    browser.open(site.url(f"{start_url()}?next=/social/connections/"))
    browser.press(button("ok"))
    allow(browser)
    browser.wait_until(lambda: browser.path == "/social/connections/")
    assert_logged_in(browser, site)


def test_logins_in_two_tabs_both_succeed(browser, site):
    tabs = [browser.tab, browser.new_tab()]
    for tab in tabs:
        browser.tab = tab
        begin(browser, site)
    for tab in tabs:
        browser.tab = tab
        allow(browser)
        browser.wait_until(lambda: browser.path == "/")
    assert_logged_in(browser, site)


# --- nobody else sees it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_address_history_and_page_are_clean_before_anything_is_sent(browser, site, held, network):
    begin(browser, site, network)
    length = browser.run("return history.length")
    browser.answer("allow", PERSON[network])
    assert held.reached.wait(PATIENCE)
    assert not UsedState.objects.exists()
    secrets = secrets_of(network)
    assert len(secrets) == 2

    clean = site.url(back_url(network))
    assert browser.run("return [location.href, document.URL, document.baseURI]") == [clean] * 3
    assert browser.run("return history.state") is None
    assert browser.run("return history.length") == length + 1
    assert browser.run("return navigation.entries().map(entry => entry.url)")[-1] == clean
    history = browser.emulate("Page.getNavigationHistory")
    assert history["entries"][history["currentIndex"]]["url"] == clean
    assert history["currentIndex"] == len(history["entries"]) - 1
    places = [
        str(history),
        browser.run("return document.documentElement.outerHTML + document.title + window.name"),
        browser.run("return [...document.querySelectorAll('input')].map(field => field.value).join()"),
        browser.run("return JSON.stringify([{...localStorage}, {...sessionStorage}]) + document.cookie"),
        str(browser.driver.execute_async_script("indexedDB.databases().then(arguments[0])")),
        str(browser.driver.get_cookies()),
    ]
    assert [place for place in places for secret in secrets if secret in place] == []

    held.opened.set()
    browser.wait_until(lambda: browser.path == "/")
    history = browser.emulate("Page.getNavigationHistory")
    assert [secret for secret in (*secrets, back_url(network)) if secret in str(history)] == []
    assert_logged_in(browser, site, network)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_token_travels_once_in_one_body_and_in_no_address_or_header(browser, site, requests, network):
    log_in(browser, site, network)
    assert_logged_in(browser, site, network)
    secrets, clean = secrets_of(network), site.url(back_url(network))
    happened = events(browser)
    sent = [params["request"] for method, params in happened if method == "Network.requestWillBeSent"]
    headers = [
        params["headers"] for method, params in happened if method == "Network.requestWillBeSentExtraInfo"
    ]
    assert len(headers) > 4
    carriers = [request for request in sent if secrets[0] in request.get("postData", "")]
    assert [(request["method"], request["url"]) for request in carriers] == [("POST", clean)]
    places = [*(request["url"] for request in sent), *(request["headers"] for request in sent)]
    places += [*headers, *requests]
    assert [place for place in places for secret in secrets if secret in str(place)] == []

    cleaned, posted = (
        [index for index, (method, params) in enumerate(happened) if is_it(method, params)]
        for is_it in (
            lambda method, params: method == "Page.navigatedWithinDocument" and params["url"] == clean,
            lambda method, params: params.get("request") == carriers[0],
        )
    )
    assert len(cleaned) == 1
    assert cleaned[0] < posted[0]


def test_no_page_of_the_flow_tells_the_next_one_where_it_comes_from(browser, site, requests):
    log_in(browser, site)
    pages = [request for request in requests if request.get("HTTP_SEC_FETCH_DEST") in ("document", "empty")]
    after = pages[[page["PATH_INFO"] for page in pages].index(back_url()) + 1 :]
    assert [page["PATH_INFO"] for page in after] == [back_url(), "/"]
    assert [page.get("HTTP_REFERER") for page in after] == [None, None]
    assert after[0]["HTTP_ORIGIN"] == site.origin


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("obstacle", ["slash", "login-required"])
def test_no_redirect_takes_the_fragment_elsewhere(browser, site, settings, in_force, network, obstacle):
    login_required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    in_force(MIDDLEWARE=[*settings.MIDDLEWARE, login_required])
    url = back_url(network)
    if obstacle == "slash":
        url = url.removesuffix("/")
        application = Application.objects.get(network=network)
        application.redirect_uris = [site.url(url)]
        application.save()
    browser.open(site.url(start_url(network)))
    browser.press(button(network))
    if obstacle == "slash":
        fragment = granted(network, state_of(browser))
        browser.open(site.url(f"{url}#{fragment}"))
    else:
        allow(browser, network)
    browser.wait_until(lambda: browser.path == "/")
    assert site.visits.count(url) == 2
    assert [visit for visit in site.visits if "login" in visit] == []
    assert_logged_in(browser, site, network)


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = timezone.now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    file = tmp_path_factory.mktemp("tls") / "site.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    return file


def pump(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def tls(site, certificate):
    """Host and port of a TLS terminator in front of the site."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    back_end = urlsplit(site.origin)

    class Terminator(socketserver.BaseRequestHandler):
        def handle(self):
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as inside,
                socket.create_connection((back_end.hostname, back_end.port)) as outside,
            ):
                back = threading.Thread(target=pump, args=(outside, inside), daemon=True)
                back.start()
                pump(inside, outside)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Terminator) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield "{}:{}".format(*server.server_address)
        server.shutdown()


def test_a_redirect_to_https_keeps_the_fragment_for_our_page_alone(
    browser, site, settings, in_force, tls, requests
):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_HOST", tls)  # what comes through the terminator names its port
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SOCIALGRANTS_BASE_URL = site.origin
    in_force(SECURE_SSL_REDIRECT=True, SECURE_SSL_HOST=tls, SECURE_REDIRECT_EXEMPT=["^sandbox/"])
    browser.emulate("Security.setIgnoreCertificateErrors", ignore=True)
    browser.open(f"https://{tls}/")
    browser.press(button("ok"))
    browser.run("location = arguments[0]", site.url(f"{back_url()}#{granted('ok', state_of(browser))}"))
    browser.wait_until(lambda: (browser.origin, browser.path) == (f"https://{tls}", "/"))
    assert browser.text("#user") == User.objects.get().username
    visits = [request["HTTP_HOST"] for request in requests if request["PATH_INFO"] == back_url()]
    assert visits == [urlsplit(site.origin).netloc, tls, tls]
    places = [*map(str, requests), str(browser.emulate("Page.getNavigationHistory"))]
    assert [place for place in places for secret in secrets_of("ok") if secret in place] == []


# --- once only ---------------------------------------------------------------------------------------------------


def test_after_going_back_the_dialog_leads_to_nothing_new(browser, site):
    log_in(browser, site)
    browser.back()
    assert browser.origin == site.network_origin
    allow(browser)
    browser.wait_until(lambda: browser.elements("main .socialgrants-reference"))
    assert browser.text("main p") == REASONS["unknown_state"][1]
    assert_logged_in(browser, site)
    assert UsedState.objects.count() == 1


@pytest.mark.parametrize("how", ["reload", "duplicate", "leave-and-come-back"])
def test_nothing_submits_a_fragment_twice(browser, site, held, how):
    begin(browser, site)
    allow(browser)
    assert held.reached.wait(PATIENCE)
    url = browser.driver.current_url
    if how == "duplicate":
        browser.run("window.open(location.href)")
        browser.tab = browser.driver.window_handles[-1]
    elif how == "reload":
        browser.driver.refresh()
    else:
        browser.open(site.url("/"))
        browser.back()
    browser.wait_until(lambda: browser.element(FAILED).is_displayed())
    assert (browser.driver.current_url, browser.text(FAILED)) == (
        url,
        "This login can't be finished here. Please start again.",
    )
    held.opened.set()
    browser.wait_until(lambda: UserToken.objects.exists())
    assert UsedState.objects.count() == 1
    assert User.objects.count() == 1


def test_the_same_fragment_in_two_tabs_logs_in_once(browser, site):
    begin(browser, site)
    url = site.url(f"{back_url()}#{granted('ok', state_of(browser))}")
    browser.open(url)
    browser.wait_until(lambda: browser.path == "/")
    browser.new_tab()
    browser.open(url)
    browser.wait_until(lambda: browser.elements("main .socialgrants-reference"))
    assert browser.text("main p") == REASONS["unknown_state"][1]
    assert browser.driver.current_url == site.url(back_url())
    assert_logged_in(browser, site)


# --- when it fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_a_visitor_who_says_no_is_told_so_and_can_change_their_mind(browser, site, network):
    begin(browser, site, network)
    browser.answer("deny", PERSON[network])
    browser.wait_until(lambda: browser.text("h1") == "Login cancelled")
    assert browser.text("main p") == REASONS["cancelled"][1]
    assert browser.title == "That did not work"
    assert browser.driver.current_url == site.url(back_url(network))
    browser.press(".socialgrants-link")
    assert browser.path == start_url(network)
    browser.press(button(network))
    allow(browser, network)
    browser.wait_until(lambda: browser.path == "/")
    assert_logged_in(browser, site, network)


def test_an_error_in_the_query_is_told_too(browser, site):
    """As the sandbox sends it when the application may not use this flow."""
    Application.objects.update(implicit_enabled=False)
    browser.open(site.url("/"))
    browser.press(button("ok"))
    browser.wait_until(lambda: browser.elements("main .socialgrants-reference"))
    assert browser.text("main p") == REASONS["authorization_error"][1]
    assert browser.driver.current_url == site.url(back_url())
    assert UsedState.objects.count() == 1


FAILURES = {
    "forged": ("unknown_state", lambda settings, state: granted("ok", "forged")),
    "foreign-token": ("invalid_grant", lambda settings, state: granted("ok", state, access_token=TOKEN)),
    "error": ("authorization_error", lambda settings, state: f"error=server_error&state={state}"),
    "network-down": (
        "unavailable",
        lambda settings, state: (
            setattr(settings, "SOCIALGRANTS_SANDBOX_URL", "http://127.0.0.1:9/") or granted("ok", state)
        ),
    ),
}


@pytest.mark.parametrize(("reason", "fragment"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_the_words_of_the_server(browser, site, settings, reason, fragment):
    begin(browser, site)
    browser.open(site.url(f"{back_url()}#{fragment(settings, state_of(browser))}"))
    browser.wait_until(lambda: browser.elements("main .socialgrants-reference"))
    status, sentence = REASONS[reason]
    assert (browser.text("h1"), browser.text("main p")) == ("That did not work", sentence)
    assert [line for line in browser.console() if f"status of {status}" not in line] == []
    assert_anonymous(browser, site)


def test_a_page_without_a_state_says_so_and_sends_nothing(browser, site):
    addresses = ["", "#", "#_", "#_=_", "#nonsense", f"#access_token={TOKEN}", "?x=1#"]
    for address in addresses:
        browser.open("about:blank")
        browser.open(site.url(f"{back_url()}{address}"))
        assert browser.element(FAILED).is_displayed()
        assert browser.driver.current_url == site.url(back_url())
    assert posts(site) == len(addresses)


def test_without_javascript_a_sentence_is_shown(browser, site):
    begin(browser, site)
    browser.emulate("Emulation.setScriptExecutionDisabled", value=True)
    allow(browser)
    assert browser.text("noscript") == "To finish this login, please switch on JavaScript and start again."
    assert [form for form in browser.elements("form") if form.is_displayed()] == []
    browser.press(".socialgrants-link")
    assert browser.path == start_url()
    assert posts(site) == 1


# --- policies and frames -----------------------------------------------------------------------------------------

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def strict_policy(get_response):
    """A site's own policy, in addition to ours: browsers enforce both."""

    def middleware(request):
        response = get_response(request)
        if request.path == back_url():
            response["Content-Security-Policy"] += f", {STRICT}"
        return response

    return middleware


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_strict_policy_of_the_site_stops_nothing(browser, site, settings, in_force, decision):
    in_force(MIDDLEWARE=[f"{__name__}.strict_policy", *settings.MIDDLEWARE])
    begin(browser, site)
    browser.answer(decision, PERSON["ok"])
    if decision == "allow":
        browser.wait_until(lambda: browser.path == "/")
        assert_logged_in(browser, site)
    else:
        browser.wait_until(lambda: browser.text("main p") == REASONS["cancelled"][1])


def test_our_policy_stops_what_does_not_belong_there(browser, site):
    browser.open(site.url(back_url()))
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=/ onerror=\"document.title=1\">')")
    assert "Content Security Policy" in browser.wait_until(browser.console)[0]
    assert browser.title == "One moment"


def test_the_page_is_not_shown_in_a_frame(browser, site):
    for page in (back_url(), f"{back_url()}#{granted('ok', 'x')}", callback_url()):
        browser.open(site.url("/"))
        assert not browser.can_frame(page)
        (complaint,) = browser.console()
        assert "frame-ancestors 'none'" in complaint


# --- the code flow's callback ------------------------------------------------------------------------------------


def begin_code(browser, site, network="ok"):
    browser.open(site.url(reverse("socialgrants:code", args=[network])))
    browser.press(button(network))
    return state_of(browser)


@pytest.mark.parametrize(
    ("network", "slash", "samesite"), [("ok", "/", "Lax"), ("ok", "", "Strict"), ("mailru", "/", "Strict")]
)
def test_the_code_flow_takes_an_error_and_nothing_else_from_the_fragment(
    browser, site, settings, requests, network, slash, samesite
):
    settings.SESSION_COOKIE_SAMESITE = samesite
    state = begin_code(browser, site, network)
    url = site.url(callback_url(network)).removesuffix("/") + slash
    browser.run("location = arguments[0]", f"{url}#error=access_denied&state={state}&access_token={TOKEN}")
    browser.wait_until(lambda: browser.text("h1") == "Login cancelled")
    assert browser.text("main p") == REASONS["cancelled"][1]
    assert UsedState.objects.count() == 1
    assert [request for request in requests if TOKEN in str(request)] == []
    browser.open(site.url(f"{callback_url(network)}?code=code-1234&state={state}"))
    assert browser.text("main p") == REASONS["unknown_state"][1]


def test_the_code_flow_says_that_it_can_do_nothing_with_any_other_fragment(browser, site, requests):
    addresses = [f"#access_token={TOKEN}&state=1", f"#code={TOKEN}&state=1", "#", "#error=x"]
    for address in addresses:
        browser.open("about:blank")
        browser.open(site.url(f"{callback_url()}{address}"))
        assert browser.element(FAILED).is_displayed()
        assert browser.driver.current_url == site.url(callback_url())
    assert [request for request in requests if TOKEN in str(request)] == []
    assert site.visits.count(callback_url()) == len(addresses)
