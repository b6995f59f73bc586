"""What the README says is true."""

import re
from pathlib import Path

import pytest

from django_socialgrants.conf import Conf, conf

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text()
PACKAGE = ROOT / "django_socialgrants"


def rows(title):
    """First two cells of the rows of the table that begins with `title`."""
    table = re.search(rf"^=+  =+.*\n{title}.*\n=+  =+.*\n((?:.+\n)+?)=+  =+", README, re.MULTILINE)
    return [re.split(r"  +", line)[:2] for line in table[1].splitlines()]


def test_every_setting_is_in_the_table_and_nothing_else():
    documented = [name.strip("`").removeprefix("SOCIALGRANTS_") for name, _ in rows("Setting")]
    assert sorted(documented) == sorted(name for name in vars(Conf) if name.isupper())


@pytest.mark.parametrize(
    ("name", "default"), [row for row in rows("Setting") if row[1].startswith("``")], ids=lambda cell: cell
)
def test_defaults_are_as_documented(settings, name, default):
    if hasattr(settings, name.strip("`")):
        delattr(settings, name.strip("`"))
    if name != "``SOCIALGRANTS_LEASE``":  # None there stands for a multiple of another setting
        assert repr(getattr(conf, name.strip("`").removeprefix("SOCIALGRANTS_"))) == default.strip("`")
    else:
        assert conf.LEASE == 4 * conf.TIMEOUT


def test_every_check_is_in_the_table_and_nothing_else():
    documented = [name.strip("`") for name, _ in rows("Check")]
    modules = [*PACKAGE.rglob("checks.py"), *PACKAGE.rglob("checks/*.py")]
    sources = "".join(path.read_text() for path in modules)
    assert documented == sorted(set(documented))
    assert set(documented) == set(re.findall(r'id="(socialgrants\w*\.[EW]\d{3})"', sources))


def test_its_network_is_one_that_works():
    """The class in "Another network" runs as it stands there."""
    code = re.search(r"^Another network\n-+\n.*?code-block:: python\n\n(.*?)\n\S", README, re.S | re.M)[1]
    names = {}
    exec(re.sub(r"^    ", "", code, flags=re.M), names)
    example = names["Example"]()
    assert example.identity_call() == ("me", {})
    assert example.parse_identity({"uid": "7", "first_name": "Anna"}).name == "Anna"
