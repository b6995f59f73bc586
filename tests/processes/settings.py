"""Settings of the processes that a test starts: its database and its network are named by the environment."""

import atexit
import os
from pathlib import Path

from tests.fakes import FakeMailRu, FakeOK, FakeVKID
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

_default = DATABASES["default"]
_default["NAME"] = os.environ["STORM_DATABASE"]
if _port := os.environ.get("STORM_DATABASE_PORT"):  # a proxy before the database
    _default |= {"HOST": "127.0.0.1", "PORT": _port}
if "sqlite" in _default["ENGINE"]:
    _default["OPTIONS"]["timeout"] = float(os.environ.get("STORM_BUSY_TIMEOUT", "30"))

SOCIALGRANTS_PROVIDERS = ["tests.fakes.FakeOK", "tests.fakes.FakeMailRu", "tests.fakes.FakeVKID"]
for _provider in (FakeOK, FakeMailRu, FakeVKID):
    _url = f"{os.environ['STORM_NETWORK']}/{_provider.id}"
    _provider.api_endpoint = f"{_url}/api"
    _provider.token_endpoints = dict.fromkeys(_provider.token_endpoints, f"{_url}/token")

SOCIALGRANTS_TIMEOUT = float(os.environ.get("STORM_TIMEOUT", "60"))


def _write_peak(path: str) -> None:
    """The most memory that this process ever had. (`ru_maxrss` begins with that of the parent.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    Path(path).write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


if _path := os.environ.get("STORM_PEAK"):
    atexit.register(_write_peak, _path)
