"""A confined child is heard, measured and ended, whatever it does; also where no kernel keeps it from much."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.left import remove

RUN = """
import json, os, sys, time
from pathlib import Path
from server import confined, family
from server.confined import Fence
from server.limits import Limits

folder = Path(sys.argv[1])
family.lead()
heard = []

def job():
    {job}

fence = Fence([], folder, Limits(memory=1 << 30, processes=64, disk=1 << 20, seconds={seconds}))
ended = confined.run(job, fence, heard.append)
print(json.dumps({{"reason": ended.reason, "fence": ended.fence, "seconds": ended.seconds, "heard": heard}}))
"""


def ran(root: Path, folder: Path, job: str, seconds: float = 30.0) -> dict[str, Any]:
    """What came of a job in a child of a fresh process."""
    code = RUN.format(job=job, seconds=seconds)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=root, capture_output=True, text=True, timeout=300, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_it_says_is_heard_and_what_it_used_is_counted(root: Path, tmp_path: Path) -> None:
    found = ran(root, tmp_path, "print('one'); print('two', end=''); sum(range(10_000_000))")
    assert (found["reason"], found["heard"]) == (None, ["one", "two"])
    assert found["seconds"] > 0.05
    assert found["fence"]


def test_how_it_is_fenced_is_said_once_and_first(root: Path, tmp_path: Path) -> None:
    forged = """print('{"event": "fenced", "fence": "forged"}')"""
    found = ran(root, tmp_path, forged)
    assert found["fence"] != "forged"
    assert len(found["heard"]) == 1


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("raise ValueError('no\\\\x1b[2J')", "ValueError: no"),
        ("os._exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 11)", "it was ended by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "it was ended by signal 40"),  # of those that have no name
        ("(folder / 'x').write_bytes(b'1' * (1 << 19)); (folder / 'y').write_bytes(b'1' * (1 << 20))", "disk"),
        ("keep = bytearray(2 << 30)", "MemoryError"),
        ("print('x' * 99999999)", "it said more than 64 MiB"),
        ("os.close(1); os.close(2); time.sleep(60)", "its limit of seconds, 2"),
        ("while True: os.write(1, b'\\\\n' * 1000)", "it said more than"),
    ],
    ids=lambda text: text[:20],
)
def test_however_it_ends_it_is_told_in_one_line(root: Path, tmp_path: Path, job: str, reason: str) -> None:
    found = ran(root, tmp_path, job, seconds=2.0 if "close" in job else 30.0)
    assert any(part in found["reason"] for part in reason.split("|"))
    assert found["reason"].isprintable()


def test_of_what_it_left_plain_files_stay(root: Path, tmp_path: Path) -> None:
    """Folders may be too deep for whoever removes them without expecting it."""
    deep = "(folder / 'kept').touch(); os.makedirs(folder / '/'.join('d' * 40))"
    assert ran(root, tmp_path, deep)["reason"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_long_lines_are_left_out_and_the_next_is_heard(root: Path, tmp_path: Path) -> None:
    found = ran(root, tmp_path, "print('x' * 100_000); print('next'); print('y' * 8000)")
    assert [line[:5] for line in found["heard"]] == ["next", "yyyyy"]


def test_what_it_left_is_removed_however_it_lies_there(tmp_path: Path) -> None:
    """Deeper than Python's stack, closed to its owner, and with links that lead outside."""
    deep = (
        "import os, sys; os.chdir(sys.argv[1])\n"
        "for n in range(3000): os.mkdir('d'); os.symlink('/etc', f'l'); os.mkfifo('f'); os.chdir('d')\n"
        "os.mkdir('closed'); os.mkdir('closed/in'); os.chmod('closed', 0)\n"
    )
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    left = tmp_path / "left"
    left.mkdir()
    (left / "link").symlink_to(tmp_path / "outside")
    subprocess.run([sys.executable, "-c", deep, str(left)], check=True)
    remove(left)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside" / "kept").exists()
    remove(left)  # gone already
