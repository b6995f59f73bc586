"""Starting processes, giving them work, and looking at what is left of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from django_socialgrants.models import ProviderCredentials, UserToken
from tests.network import Network

from .ledger import FatalLedger, Ledger

PATIENCE = 120
"""Seconds after which a test that hangs fails instead."""

ROOT = Path(__file__).parents[2]


class Worker:
    """A process, and what it said."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.output, self.errors = folder / "output", folder / "errors"
        with self.output.open("w") as output, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=errors, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL
            )

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def report(self, exit_code: int = 0) -> dict[str, Any]:
        """The document that it printed before it ended with `exit_code`, as a shell counts."""
        assert self.exit_code() == exit_code, self.errors.read_text()
        return json.loads(self.output.read_text())

    def complained(self, about: str, times: int = 1) -> bool:
        return self.errors.read_text().count(about) >= times

    def has_noted_a_signal(self) -> bool:
        """Whether the first SIGTERM or SIGINT was handled: from then on SIGTERM kills again."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        return not caught & 1 << signal.SIGTERM - 1


def until(condition: Callable[[], Any], *workers: Worker) -> None:
    """Wait for what is going to happen while all `workers` live."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "it never happened"
        for worker in workers:
            assert worker.process.poll() is None, f"a process has ended: {worker.errors.read_text()}"
        time.sleep(0.01)


@pytest.fixture
def launch(network: Network, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """`launch(*command, **environment)` starts `python -m COMMAND` beside the test's database and network."""
    workers: list[Worker] = []

    def launch(*command: str, **environment: object) -> Worker:
        folder = tmp_path / str(len(workers))
        folder.mkdir()
        named = {
            "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
            "PYTHONPATH": str(ROOT),
            "STORM_DATABASE": connection.settings_dict["NAME"],
            "STORM_NETWORK": network.url,
            **{name: str(value) for name, value in environment.items()},
        }
        workers.append(Worker([sys.executable, "-m", *command], folder, {**os.environ, **named}))
        return workers[-1]

    yield launch
    for worker in workers:
        worker.kill()


@pytest.fixture
def refresh_tokens(launch: Callable[..., Worker]) -> Callable[..., Worker]:
    """`refresh_tokens(*options, **environment)` starts the command."""

    def start(*options: object, **environment: object) -> Worker:
        texts = map(str, options)
        return launch("django", "refresh_tokens", "--json", "--no-progress", *texts, **environment)

    return start


@pytest.fixture
def ledger_of(network: Network) -> Iterator[Callable[..., Ledger]]:
    """`ledger_of(*arguments)` makes the network one with such a `Ledger`."""
    ledgers: list[Ledger] = []

    def open_ledger(*arguments: Any, **options: Any) -> Ledger:
        ledger = Ledger(*arguments, **options)
        ledgers.append(ledger)
        for name in ("ok", "mailru"):
            network.on(f"/{name}/token", ledger.token_endpoint)
            network.on(f"/{name}/api", ledger.api_endpoint)
        return ledger

    yield open_ledger
    for ledger in ledgers:
        ledger.release()


@pytest.fixture
def ledger(ledger_of: Callable[..., Ledger]) -> Ledger:
    """A network with strict rotation."""
    return ledger_of()


@pytest.fixture
def fatal_ledger(network: Network) -> Iterator[FatalLedger]:
    """VK ID."""
    ledger = FatalLedger()
    network.on("/vkid/token", ledger.token_endpoint)
    network.on("/vkid/api/users.get", ledger.api_endpoint)
    yield ledger
    ledger.release()


def make_due(application: ProviderCredentials, count: int) -> User:
    """The owner of `count` tokens that are due, but valid for a minute and more."""
    owner = User.objects.create_user("owner")
    created_at, expires_at = (timezone.now() + timedelta(seconds=seconds) for seconds in (-3600, 100))
    UserToken.objects.bulk_create(
        (
            UserToken(
                user=owner,
                credentials=application,
                uid=str(number),
                access_token=f"access-{number}-0",
                refresh_token=f"refresh-{number}-0",
                device_id=f"device-{number}",
                created_at=created_at,
                expires_at=expires_at,
            )
            for number in range(1, count + 1)
        ),
        batch_size=500,
    )
    return owner


def end_leases() -> None:
    """As if their time had passed."""
    leased = UserToken.objects.exclude(lease_owner="")
    leased.update(lease_until=timezone.now() - timedelta(hours=1))


def assert_kept(ledger: Ledger) -> None:
    """Nobody's token is lost: every row holds what the network gave last, can read it, and is at rest."""
    for token in UserToken.objects.all():
        held = token.access_token.reveal(), token.refresh_token.reveal()
        assert held == ledger.pair(token.uid)
        assert (token.state, token.reason) == ("active", "")
        assert (token.lease_owner, token.lease_until) == ("", None)
