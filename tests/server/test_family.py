"""Nobody outlives the process that started them, by whatever way they left it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")

LEADER = """
import os, signal, sys, time
from server import family

def daemon():
    "In a session of its own, as nobody's child, deaf to polite requests, with a name that misleads who reads it."
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("/proc/self/comm", "w").write(") R 1 1 (")
    print(os.getpid(), flush=True)
    time.sleep(60)

family.lead()
try:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        daemon()
    os.waitpid(child, 0)
    sys.stdin.readline()
finally:
    print(family.end() >= 0, flush=True)
"""


@pytest.fixture
def led(root: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A leader, and the daemon that one of its children has left behind."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADER], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as leader:
        assert leader.stdout is not None
        daemon = int(leader.stdout.readline())
        assert alive(daemon)  # otherwise that it is gone afterwards would mean nothing
        yield leader, daemon
        leader.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon, signal.SIGKILL)


def alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(process: int) -> bool:
    deadline = time.monotonic() + 60
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(process)


def test_a_daemon_ends_with_what_it_was_started_for(led: tuple[subprocess.Popen[str], int]) -> None:
    leader, daemon = led
    said, _ = leader.communicate("\n", timeout=60)
    assert said == "True\n"
    assert not alive(daemon)


def test_a_leader_that_is_asked_to_end_takes_its_daemons_along(led: tuple[subprocess.Popen[str], int]) -> None:
    leader, daemon = led
    leader.terminate()
    assert leader.wait(10) == 128 + signal.SIGTERM
    assert not alive(daemon)


def test_a_command_that_is_killed_leaves_no_daemon(root: Path) -> None:
    """The leader is asked to end when its own parent is gone, however that went."""
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with subprocess.Popen(
        [sys.executable, "-c", parent, LEADER], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        daemon = int(command.stdout.readline())
        assert alive(daemon)
        command.kill()
        assert gone(daemon)
