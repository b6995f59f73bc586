"""The list of tests is the same wherever and whenever it is made, or several processes could not share it."""

import os
import subprocess
import sys

import pytest

from tests.conftest import COLLECTED


def file_of(name):
    """Files may have been asked for in another order; within one, the order is kept."""
    return name.partition("::")[0]


@pytest.mark.slow
def test_another_process_makes_the_same_list_of_tests(request):
    ours = request.config.stash[COLLECTED]
    seed = "0" if os.environ.get("PYTHONHASHSEED") != "0" else "1"
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    process = subprocess.run(
        command, env={**environment, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    theirs = [line for line in process.stdout.splitlines() if line in ours]
    assert sorted(theirs, key=file_of) == sorted(ours, key=file_of)
    assert [name for name in ours if " at 0x" in name] == []
