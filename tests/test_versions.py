"""Which versions of Python and Django are supported is said in four places, and is the same in all of them."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def supported():
    """Django -> Pythons, both as "x.y": what tox makes environments for."""
    pythons_of = {}
    for name in PYPROJECT["tool"]["tox"]["env_list"]:
        minor, *django = re.fullmatch(r"py3(\d+)-django(\d)(\d)", name).groups()
        pythons_of.setdefault(".".join(django), []).append(f"3.{minor}")
    return {django: sorted(pythons) for django, pythons in pythons_of.items()}


def classified(topic):
    names = [
        re.fullmatch(rf"{topic} :: (\d+\.\d+)", classifier)
        for classifier in PYPROJECT["project"]["classifiers"]
    ]
    return [name[1] for name in names if name]


def test_the_classifiers_name_what_is_supported():
    assert classified("Framework :: Django") == sorted(supported())
    assert classified("Programming Language :: Python") == sorted(set().union(*supported().values()))


def test_each_environment_installs_the_django_of_its_name():
    deps = PYPROJECT["tool"]["tox"]["env_run_base"]["deps"]
    installed = {entry["condition"]: entry["then"] for entry in deps}
    assert installed == {
        f"factor.django{django.replace('.', '')}": [f"Django~={django}.0"] for django in supported()
    }


def test_the_oldest_tested_versions_are_the_oldest_that_can_be_installed():
    project = PYPROJECT["project"]
    assert project["requires-python"] == f">={classified('Programming Language :: Python')[0]}"
    assert f"Django>={min(supported())}" in project["dependencies"]


def test_the_readme_names_what_is_supported():
    (line,) = re.findall(r"^Django \d.*?;", (ROOT / "README.rst").read_text(), re.MULTILINE)
    promised = {}
    for djangos, pythons in re.findall(r"(\d\.\d(?: and \d\.\d)*) \(Python ([\d., ]+)\)", line):
        promised |= dict.fromkeys(djangos.split(" and "), pythons.split(", "))
    assert promised == supported()
