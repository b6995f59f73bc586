"""Which versions of Python and Django are supported is said in four places, and is the same in all of them."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def supported():
    """Django -> Pythons, both as "x.y": what the README promises."""
    (line,) = re.findall(r"^Django \d.*?;", (ROOT / "README.rst").read_text(), re.MULTILINE)
    pythons_of = {}
    for djangos, pythons in re.findall(r"(\d\.\d(?: and \d\.\d)*) \(Python ([\d., ]+)\)", line):
        pythons_of |= dict.fromkeys(djangos.split(" and "), pythons.split(", "))
    return pythons_of


def classified(topic):
    names = [
        re.fullmatch(rf"{topic} :: (\d+\.\d+)", classifier)
        for classifier in PYPROJECT["project"]["classifiers"]
    ]
    return [name[1] for name in names if name]


def test_the_classifiers_name_what_is_supported():
    assert classified("Framework :: Django") == sorted(supported())
    assert classified("Programming Language :: Python") == sorted(set().union(*supported().values()))


def test_the_oldest_tested_versions_are_the_oldest_that_can_be_installed():
    project = PYPROJECT["project"]
    assert project["requires-python"] == f">={classified('Programming Language :: Python')[0]}"
    assert f"Django>={min(supported())}" in project["dependencies"]


def run():
    """What tests every promise. Archives don't hold it."""
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("this is no checkout")
    return script.read_text()


def test_every_supported_pair_is_tested():
    (pairs,) = re.findall(r"^pairs=\((.*)\)$", run(), re.MULTILINE)
    assert pairs.split() == [
        f"{django}/{python}" for django, pythons in supported().items() for python in pythons
    ]


def test_the_oldest_dependencies_that_can_be_installed_are_tested():
    (oldest,) = re.findall(r"^oldest=\((.*)\)$", run(), re.MULTILINE)
    assert oldest.replace("==", ">=").split() == PYPROJECT["project"]["dependencies"]
