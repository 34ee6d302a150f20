"""The fence against malice: each exploit works outside of it, and is refused inside, for root and for ordinary users."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server import landlock, seccomp

ROOT = Path(__file__).resolve().parents[2]
EXPLOITS = Path(__file__).with_name("exploits.py")
NOBODY = 65534
USERS = (os.getuid(), NOBODY) if os.getuid() == 0 else (os.getuid(),)
WHOLE = landlock.version() >= landlock.WHOLE and seccomp.supported()

pytestmark = pytest.mark.skipif(not WHOLE, reason="this kernel has no Landlock of interface 3, or no seccomp")

VICTIM = """
import ctypes, os, sys
kept = ctypes.create_string_buffer(b"secret")
file = os.open(sys.argv[1], os.O_RDWR)
user = int(sys.argv[2])
if user != os.getuid():
    os.setgroups([]); os.setgid(user); os.setuid(user)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_long(-1), 0, 0, 0)  # where Yama asks, anybody of this user may
print(ctypes.addressof(kept), file, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Scene:
    """A user with a secret, sockets, shared memory and another process, and a folder to attack from."""

    folder: Path
    plan: dict[str, Any]

    def attack(self, *, fence: bool, only: str = "", terminal: bool = False) -> dict[str, Any]:
        plan = {**self.plan, "fence": fence, "only": only, "terminal": terminal}
        stdin: int = subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            if terminal:
                master, stdin = pty.openpty()
                stack.callback(os.close, master)
                stack.callback(os.close, stdin)
            ran = subprocess.run(
                [sys.executable, str(EXPLOITS), json.dumps(plan)],
                stdin=stdin, capture_output=True, text=True, check=False, timeout=60, pass_fds=[plan["descriptor"]],
            )  # fmt: skip
        if ran.returncode < 0:
            return {"signal": -ran.returncode}
        assert ran.returncode == 0, ran.stderr
        return dict(json.loads(ran.stdout))


@contextlib.contextmanager
def scene(user: int) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        # Not pytest's folder, which no other user may enter.
        folder = Path(tempfile.mkdtemp(prefix="fence-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for part in ("own", "outcome", "answers"):
            (folder / part).mkdir()
        secret = folder / "answers" / "key"
        secret.write_text("secret")
        secret.chmod(0o600)
        os.setxattr(secret, "user.kept", b"x")
        (folder / "own" / "film.npy").write_text("a film")
        (folder / "outcome" / "kept").write_text("scores")
        descriptor = os.open(secret, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        queue = f"/fedcxr-{os.getpid()}-{user}"
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        key = 0x7000_0000 | os.getpid()
        memory = libc.shmget(key, 64, 0o1666)
        stack.callback(libc.shmctl, memory, 0, None)
        at = libc.shmat(memory, None, 0)
        ctypes.memmove(at, b"secret", 6)
        stack.callback(libc.shmdt, ctypes.c_void_p(at))
        libc.mq_open(queue.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
        stack.callback(libc.mq_unlink, queue.encode())
        named, abstract, datagrams, tcp = (stack.enter_context(socket.socket(family, kind)) for family, kind in (
            (socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_STREAM),
            (socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_STREAM),
        ))  # fmt: skip
        named.bind(str(folder / "socket"))
        abstract.bind(f"\0fedcxr-{os.getpid()}-{user}")
        datagrams.bind(str(folder / "datagrams"))
        tcp.bind(("127.0.0.1", 0))
        for one in (named, abstract, tcp):
            one.listen(16)
        handle = ctypes.create_string_buffer(128 + 8)
        ctypes.memmove(handle, (128).to_bytes(4, "little"), 4)
        libc.name_to_handle_at(-100, os.fsencode(secret), handle, ctypes.byref(ctypes.c_int()), 0)
        if user != os.getuid():
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, user, user)
            libc.shmctl(memory, 1, None)
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(secret), str(user)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        stack.callback(victim.communicate)
        assert victim.stdout is not None
        address, file = map(int, victim.stdout.readline().split())
        plan = {
            "code": str(ROOT), "user": user if user != os.getuid() else 0, "secret": str(secret),
            "own": str(folder / "own"), "outcome": str(folder / "outcome"), "socket": str(folder / "socket"),
            "datagrams": str(folder / "datagrams"), "abstract": f"fedcxr-{os.getpid()}-{user}",
            "port": tcp.getsockname()[1], "shm_key": key, "queue": queue, "handle": handle.raw.hex(),
            "victim": victim.pid, "victim_memory": address, "victim_file": file, "descriptor": descriptor,
        }  # fmt: skip
        yield Scene(folder, plan)
