"""The list of tests is the same wherever and whenever it is made, or several processes could not share it."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_list_of_tests_is_always_the_same():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    collecting = [
        subprocess.Popen(
            command, env={**environment, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in ("0", "1")
    ]
    first, second = (
        [line for line in process.communicate()[0].splitlines() if "::" in line] for process in collecting
    )
    assert len(first) > 1000
    assert first == second
    assert [name for name in first if " at 0x" in name] == []
