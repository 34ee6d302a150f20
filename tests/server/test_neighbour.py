"""Another user of this machine, during a run on Ray: what they reach by TCP, and what they make of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from users import as_user, need_users

from server.attack import end_group

THIEF = Path(__file__).resolve().parents[1] / "neighbour.py"
NOBODY = 65534
LISTENS, LOOPBACK = "0A", ("0100007F", "0000000000000000FFFF00000100007F")
SECONDS = 120.0  # for an engine to start on a busy machine

FILMS = {"cohort": {"source": "phantom", "patients": 12, "size": 16}, "sites": 1, "partition": {"by": "iid"}}
PLAN = {**FILMS, "method": "none", "tasks": {}, "adversaries": {}, "compute": {"device": "cpu", "workers": 1}}


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that every user of this machine may write to."""
    with tempfile.TemporaryDirectory(prefix="n-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@pytest.fixture
def thief(everybodys: Path) -> Iterator[subprocess.Popen[str]]:
    """The other user, ready to attack."""
    need_users()
    script = everybodys / "thief.py"
    shutil.copyfile(THIEF, script)
    script.chmod(0o755)
    with as_user(NOBODY, sys.executable, str(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def run_under_attack(thief: subprocess.Popen[str], everybodys: Path, code: str) -> dict[str, dict[str, Any]]:
    """What the thief was told by every port of a run on Ray, by the address each listens on."""
    assert thief.stdin is not None
    assert thief.stdout is not None
    mark = f"FEDCXR_MARK={everybodys}"
    found: dict[str, dict[str, Any]] = {}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FEDCXR_MARK": str(everybodys)}
    command = [sys.executable, "-c", code, str(everybodys / "runs"), json.dumps(PLAN)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True) as run:
        end = time.monotonic() + SECONDS
        try:
            while run.poll() is None and time.monotonic() < end:
                for place in listening(mark) - found.keys():
                    thief.stdin.write(f"{int(place.split(':')[1], 16)}\n")
                    thief.stdin.flush()
                    found[place] = json.loads(thief.stdout.readline())
                    if found[place]["replaced"]:
                        return found
                time.sleep(0.02)
        finally:
            end_group(run, (signal.SIGKILL,))
    return found


def listening(mark: str) -> set[str]:
    """Where processes listen that inherited this mark: address and port in hexadecimal."""
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                inodes |= {re.sub(r"\D", "", str(fd.readlink())) for fd in (process / "fd").iterdir()}
        except OSError:
            continue
    rows = [line.split() for file in ("tcp", "tcp6") for line in Path("/proc/net", file).read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == LISTENS and row[9] in inodes}


AS_WE_RUN = """
import json, sys
from pathlib import Path
from fedcxr.scenario import Scenario
from server import cluster, simulate
{before}
simulate.simulate(Scenario.parse(json.loads(sys.argv[2])), simulate.Options(Path(sys.argv[1])))
"""
WITHOUT_TOKEN = "cluster.Cluster.around = lambda self, environment: {**environment, 'FLWR_HOME': str(self.scratch)}"


@pytest.mark.slow
def test_nobody_else_can_talk_to_a_run_on_ray(thief: subprocess.Popen[str], everybodys: Path) -> None:
    told = run_under_attack(thief, everybodys, AS_WE_RUN.format(before=""))
    assert list((everybodys / "runs").rglob("result.json")), told
    assert len(told) >= 5, told  # GCS, raylet, the agent, the driver, an actor
    for place, answer in told.items():
        assert place.split(":")[0] in LOOPBACK, place
        assert "OK" not in answer["said"], answer
        assert "UNAUTHENTICATED" in answer["said"] or "HTTP 401" in answer["said"], answer


@pytest.mark.slow
def test_without_a_token_the_same_attack_replaces_actors(thief: subprocess.Popen[str], everybodys: Path) -> None:
    """So that the test above can fail."""
    told = run_under_attack(thief, everybodys, AS_WE_RUN.format(before=WITHOUT_TOKEN))
    assert any(answer["replaced"] for answer in told.values())
