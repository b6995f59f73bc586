"""A virtual environment for each package that we are compared with, as the package index has it."""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import django

_DJANGO = f"Django=={django.__version__}"
PACKAGES = {
    "django-allauth": ("django-allauth[socialaccount]", _DJANGO),
    "social-auth": ("social-auth-app-django", _DJANGO),
    "aiookru": ("aiookru==1.0.0",),
    "aiomailru": ("aiomailru==0.1.1",),
}
"""What is installed for each of them; Django is our own, so that only the packages differ."""

FOLDER = Path(tempfile.gettempdir()) / f"socialgrants-benchmarks-{django.__version__}-{sys.version_info[1]}"
"""They are kept for the next time."""


def python_of(name: str) -> str:
    """The interpreter in whose environment `name` is installed; ours for what we bring along ourselves."""
    if name not in PACKAGES:
        return sys.executable
    folder = FOLDER / name
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        print(f"making an environment for {name}", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
        ready.touch()
    return str(python)


def installed(name: str) -> int:
    """How many distributions a site gets together with `name`, pip and its like not counted."""
    code = (
        "from importlib.metadata import distributions as d;"
        "print(len({x.name.lower() for x in d()} - {'pip', 'setuptools', 'wheel'}))"
    )
    return int(
        subprocess.run([python_of(name), "-c", code], check=True, capture_output=True, text=True).stdout
    )
