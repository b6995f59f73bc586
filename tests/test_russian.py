"""What a visitor or an operator reads is there in Russian, too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.utils.translation import override

from django_socialgrants.flows.refusal import REASONS


@pytest.mark.parametrize(("network", "label"), [("ok", "Войти через OK"), ("mailru", "Войти через Mail.Ru")])
def test_buttons_are_labelled_in_russian(client, ok_app, mailru_app, network, label):
    with override(None):  # the middleware leaves the language behind
        page = client.get(f"/social/{network}/code/", headers={"Accept-Language": "ru"}).content.decode()
    assert label in page
    assert '<html lang="ru">' in page


@pytest.mark.parametrize("sentence", [sentence for _, sentence in REASONS.values()], ids=list(REASONS))
def test_every_refusal_is_said_in_russian(sentence):
    with override("en"):
        english = str(sentence)
    with override("ru"):
        russian = str(sentence)
    assert russian != english
    assert russian.endswith(".")


ROOT = Path(__file__).parents[1]
CATALOGUES = ["django_socialgrants", "example_project/demo"]


@pytest.fixture
def extracted(tmp_path):
    """The path of a copy of an app's catalogue, brought up to date with the app's source."""
    if not shutil.which("xgettext"):
        pytest.skip("gettext is not installed")

    def extract(folder):
        app = shutil.copytree(
            ROOT / folder, tmp_path / "app", ignore=shutil.ignore_patterns("*.mo", "__pycache__")
        )
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        command = [
            sys.executable,
            "-m",
            "django",
            "makemessages",
            "--locale=ru",
            "--no-location",
            "--verbosity=0",
        ]
        subprocess.run(command, cwd=app, env=environment, check=True)
        return app / "locale/ru/LC_MESSAGES/django.po"

    return extract


@pytest.mark.slow
@pytest.mark.parametrize("folder", CATALOGUES)
@pytest.mark.parametrize("kind", ["--untranslated", "--only-fuzzy", "--only-obsolete"])
def test_no_message_is_missing_doubtful_or_left_over(extracted, folder, kind):
    command = ["msgattrib", kind, "--no-wrap", str(extracted(folder))]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert found.count("msgid ") <= 1, found  # the header is always there


@pytest.mark.parametrize("folder", CATALOGUES)
def test_the_compiled_catalogue_is_that_of_the_source(tmp_path, folder):
    if not shutil.which("msgfmt"):
        pytest.skip("gettext is not installed")
    catalogue = ROOT / folder / "locale/ru/LC_MESSAGES/django.po"
    subprocess.run(["msgfmt", "--output-file", str(tmp_path / "django.mo"), str(catalogue)], check=True)
    assert (tmp_path / "django.mo").read_bytes() == catalogue.with_suffix(".mo").read_bytes()
