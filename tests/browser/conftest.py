"""A real browser, and a site of ours that it can reach, with the sandbox in the part of both networks."""

import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import django
import pytest
from django.core.signals import request_started
from django.test import override_settings

from django_socialgrants.sandbox.applications import load

collect_ignore = [] if django.VERSION >= (6, 0) else ["test_site_policy.py"]

PATIENCE = 10
"""Seconds until a page that does not come is a failure."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which does not work for root, as in containers
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,900",
    "--lang=en",
)

CONTRASTS = """
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ratio = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const over = ([r, g, b, alpha = 1], under) => [r, g, b].map((c, i) => c * alpha + under[i] * (1 - alpha));
const backgrounds = element => {
  if (!element) return [[255, 255, 255]];
  const style = getComputedStyle(element);
  const gradient = style.backgroundImage.match(/rgba?\\([^)]*\\)/g);
  const paints = (gradient || [style.backgroundColor]).map(numbers);
  if (paints.every(([r, g, b, alpha = 1]) => alpha === 1)) return paints;
  return backgrounds(element.parentElement).flatMap(under => paints.map(paint => over(paint, under)));
};
const worst = element => {
  const color = numbers(getComputedStyle(element).color);
  return Math.min(...backgrounds(element).map(under => ratio(over(color, under), under)));
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
while (texts.nextNode()) {
  const text = texts.currentNode.data.trim(), element = texts.currentNode.parentElement;
  if (text && element.checkVisibility()) found.push([text, worst(element)]);
}
const focused = document.activeElement, ring = getComputedStyle(focused);
const outline = ring.outlineStyle === "none" || !parseFloat(ring.outlineWidth) ? 0
  : Math.min(...backgrounds(focused.parentElement).map(under => ratio(numbers(ring.outlineColor), under)));
return {texts: found, outline};
"""
"""Contrast ratios (WCAG 2.2): of every text with what is painted behind it, and of the focused element's outline
with its surroundings; 0 without an outline."""


class Browser:
    """What somebody in front of a browser does and sees. Elements are named by CSS selectors."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get(url)

    def element(self, css):
        return self.driver.find_element("css selector", css)

    def elements(self, css):
        return self.driver.find_elements("css selector", css)

    def text(self, css):
        return self.element(css).text

    def press(self, css):
        """Click what leads to another page, and wait for that page."""
        with self.page_change():
            self.element(css).click()

    @contextmanager
    def page_change(self):
        page = self.element("html").id
        yield
        self.wait_until(lambda: self.element("html").id != page)

    def wait_until(self, condition):
        """Whatever `condition` is about may be replaced by another page while it is looked at."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        wait = WebDriverWait(self.driver, PATIENCE, 0.05, [StaleElementReferenceException])
        return wait.until(lambda driver: condition())

    @property
    def tab(self):
        return self.driver.current_window_handle

    @tab.setter
    def tab(self, tab):
        self.driver.switch_to.window(tab)

    def new_tab(self):
        self.driver.switch_to.new_window("tab")
        return self.tab

    def answer(self, decision, uid):
        """Answer a network's dialog as one of its people."""
        self.element(f"input[name=person][value='{uid}']").click()
        self.press(f"button[name=decision][value={decision}]")

    def keys(self, *names):
        from selenium.webdriver import ActionChains, Keys

        ActionChains(self.driver).send_keys(*(getattr(Keys, name) for name in names)).perform()

    def back(self):
        with self.page_change():
            self.driver.back()

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def emulate(self, command, **parameters):
        """A command of the DevTools protocol, for the current tab."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def prefer(self, scheme):
        """Light or dark colours."""
        self.emulate(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def speak(self, language):
        agent = self.run("return navigator.userAgent")
        self.emulate("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=language)

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.emulate("Emulation.setDeviceMetricsOverride", **metrics)

    def can_frame(self, url):
        """Whether this page can show another one of its own origin in a frame."""
        return self.driver.execute_async_script(
            """
            const frame = document.createElement("iframe");
            frame.onload = () => arguments[1](frame.contentDocument !== null);
            frame.src = arguments[0];
            document.body.append(frame);
            """,
            url,
        )

    @property
    def title(self):
        return self.driver.title

    @property
    def origin(self):
        parts = urlsplit(self.driver.current_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def path(self):
        return urlsplit(self.driver.current_url).path

    @property
    def status(self):
        return self.run("return performance.getEntriesByType('navigation')[0].responseStatus")

    def console(self):
        """What the browser has had to say since it was asked last, but for statuses of whole pages."""
        entries = self.driver.get_log("browser")
        return [
            entry["message"]
            for entry in entries
            if " the server responded with a status of 4" not in entry["message"]
        ]

    def save_screenshot(self, name):
        """For people to look at, if they have said where they want it."""
        if folder := os.environ.get("SOCIALGRANTS_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def contrasts(self):
        return self.run(CONTRASTS)


@dataclass(frozen=True)
class Site:
    """A live site. Two names of this machine are two different sites to a browser."""

    origin: str
    network_origin: str
    visits: list[str] = field(default_factory=list)
    """The paths that were asked for."""

    def url(self, path):
        return f"{self.origin}{path}"


@pytest.fixture
def site(request, live_server, settings):
    """A site and, under another name unless a test says otherwise, the networks."""
    ours, theirs = getattr(request, "param", ("127.0.0.1", "localhost"))
    port = urlsplit(live_server.url).port
    site = Site(f"http://{ours}:{port}", f"http://{theirs}:{port}")
    settings.DEBUG = True  # without it the sandbox is closed
    settings.SOCIALGRANTS_SANDBOX_URL = f"{site.network_origin}/sandbox"
    settings.SOCIALGRANTS_PROVIDERS = [
        "django_socialgrants.sandbox.providers.OK",
        "django_socialgrants.sandbox.providers.MailRu",
    ]
    load([site.origin])

    def note(sender, environ, **kwargs):
        site.visits.append(environ["PATH_INFO"])

    request_started.connect(note)
    yield site
    request_started.disconnect(note)


@pytest.fixture
def in_force(live_server):
    """Changes settings that middleware has read already, as the server is running."""

    def load_middleware(handler):
        handler.load_middleware()
        if inner := getattr(handler, "application", None):
            load_middleware(inner)

    with ExitStack() as changed:

        def change(**changes):
            changed.enter_context(override_settings(**changes))
            load_middleware(live_server.thread.httpd.get_app())

        yield change
    load_middleware(live_server.thread.httpd.get_app())


@pytest.fixture(scope="session")
def chrome(tmp_path_factory):
    if find_spec("selenium") is None:
        pytest.skip("selenium is not installed")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("chromium and chromedriver are not both installed")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": "en"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options=options, service=Service(chromedriver)) as driver:
        driver.implicitly_wait(PATIENCE)
        yield driver


@pytest.fixture
def browser(site, visitor):
    """A new visitor of `site`."""
    return visitor


@pytest.fixture
def visitor(chrome):
    """Somebody new, who sees nothing in the console of any page but what the test has looked at."""
    used = chrome.window_handles
    chrome.switch_to.new_window("tab")
    new = chrome.current_window_handle
    for tab in used:
        chrome.switch_to.window(tab)
        chrome.close()
    chrome.switch_to.window(new)
    browser = Browser(chrome)
    browser.emulate("Network.clearBrowserCookies")
    browser.console()
    yield browser
    complaints = browser.console()
    browser.open("about:blank")
    assert complaints == []
