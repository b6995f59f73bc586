"""What commands have in common: a bar on a terminal only, and stopping in good order."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading

import pytest

from django_socialgrants.management.interruption import interruptible
from django_socialgrants.management.progress import progress

COUNT = """
from django_socialgrants.management.progress import progress
with progress(7, shown={shown}) as advance:
    advance(3)
    advance(4)
"""


def said_on_a_terminal(program):
    """What a process writes to its stderr, if that is a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    try:
        subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True)
        os.write(theirs, b"end")
        said = b""
        while not said.endswith(b"end"):
            said += os.read(ours, 4096)
        return said.decode().removesuffix("end")
    finally:
        os.close(ours)
        os.close(theirs)


def test_there_is_a_progress_bar_on_a_terminal():
    assert "7/7" in said_on_a_terminal(COUNT.format(shown=True))


def test_what_is_said_meanwhile_stands_on_lines_of_its_own():
    speak = """
import sys
from django_socialgrants.management.progress import above_progress, progress
with progress(2) as advance:
    advance(1)
    with above_progress():
        print("something happened", file=sys.stderr)
    advance(1)
"""
    lines = [line.rpartition("\r")[2] for line in said_on_a_terminal(speak).split("\r\n")]
    assert lines[0] == "something happened"
    assert "2/2" in lines[1]


def test_there_is_none_if_it_is_not_wanted():
    assert said_on_a_terminal(COUNT.format(shown=False)) == ""


def test_there_is_none_where_there_is_no_terminal(capsys):
    with progress(7) as advance:
        advance(7)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_a_second_one_does_what_it_always_did(number):
    def usual(*args):
        raise InterruptedError

    before = signal.signal(number, usual)
    try:
        with interruptible() as interruption:
            assert not interruption
            signal.raise_signal(number)
            assert interruption
            assert interruption.signal == number
            with pytest.raises(InterruptedError):
                signal.raise_signal(number)
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_afterwards_signals_do_what_they_did():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(ZeroDivisionError), interruptible():
        1 / 0  # noqa: B018
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_may_run_it_and_notes_nothing():
    seen = []

    def run():
        with interruptible() as interruption:
            seen.append(bool(interruption))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]
