"""Python code inside the fence, in a folder of its own, as this user or as another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from server.limits import Limits

ROOT = Path(__file__).resolve().parents[1]
AMPLE = Limits(memory=1 << 32, processes=64, disk=1 << 30, seconds=60)
START = """
import ctypes, json, mmap, os, socket, sys, threading, time
from pathlib import Path
plan = json.loads(sys.argv[1])
sys.path.insert(0, plan["code"])
from fedcxr.fence import landlock, places, seccomp
from server import sandbox, tree, watch
from server.limits import Limits
libc = ctypes.CDLL(None, use_errno=True)
if plan["user"] != os.getuid():
    os.setgroups([]); os.setgid(plan["user"]); os.setuid(plan["user"])
    libc.prctl(4, 1, 0, 0, 0)  # as a process of this user that never was another's
own, outcome = Path(plan["folder"], "own"), Path(plan["folder"], "outcome")
os.chdir("/")
def fence(**how):
    return sandbox.confine([own], [outcome], Limits(**plan["limits"]), **how)
"""


@dataclass(frozen=True)
class Fenced:
    """A program for a fenced process: it finds `own` to read and `outcome` to write, both with a file."""

    folder: Path
    code: str
    user: int
    limits: Limits

    @classmethod
    def make(cls, code: str, user: int | None = None, limits: Limits = AMPLE) -> Fenced:
        """Not below pytest's folder, which no other user may enter: whoever makes it calls `clear`."""
        user = os.getuid() if user is None else user
        folder = Path(tempfile.mkdtemp(prefix="fenced-"))
        for part, name in (("own", "film.npy"), ("outcome", "kept"), ("answers", "key")):
            (folder / part).mkdir()
            (folder / part / name).write_text("contents")
        if user != os.getuid():
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, user, user)
        return cls(folder, START + code, user, limits)

    def start(self) -> subprocess.Popen[str]:
        plan = {"code": str(ROOT), "folder": str(self.folder), "user": self.user, "limits": vars(self.limits)}
        return subprocess.Popen(
            [sys.executable, "-c", self.code, json.dumps(plan)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(self.folder / "outcome"), "OMP_NUM_THREADS": "2"},
        )  # fmt: skip

    def run(self, given: object = None) -> str:
        """What it printed."""
        child = self.start()
        said, errors = child.communicate(json.dumps(given), timeout=300)
        assert child.returncode == 0, errors
        return said

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
