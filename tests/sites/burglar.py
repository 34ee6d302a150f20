"""A method from outside that tries what a hospital's app must not be able to do, and tells the test what came of it."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.methods import ImageMethod

PLAN: dict[str, Any] = json.loads(os.environ.get("BURGLAR", "{}"))
libc = ctypes.CDLL(None, use_errno=True)


def c(name: str, *arguments: Any) -> int:
    returned = int(getattr(libc, name)(*arguments))
    if returned < 0:
        raise OSError(ctypes.get_errno(), name)
    return returned


def connect(kind: int, where: Any, family: int = socket.AF_INET) -> None:
    with socket.socket(family, kind) as tried:
        tried.settimeout(2)
        tried.connect(where)


def forked() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def traced(victim: int) -> None:
    c("ptrace", 16, victim, None, None)  # PTRACE_ATTACH
    os.waitpid(victim, 0x40000000)  # __WALL
    c("ptrace", 17, victim, None, None)


def attempts() -> dict[str, Callable[[], object]]:
    victim, port = PLAN["victim"], PLAN["port"]
    reads = {f"read {name}": (lambda path=path: Path(path).read_bytes()) for name, path in PLAN["files"].items()}
    return {
        **reads,
        "list the vault": lambda: list(Path(PLAN["vault"]).iterdir()),
        "write into the vault": lambda: Path(PLAN["vault"], "new").write_text("x"),
        "write beside the films": lambda: Path(PLAN["films"], "new").write_text("x"),
        "write elsewhere": lambda: Path(PLAN["elsewhere"], "new").write_text("x"),
        "connect to another port here": lambda: connect(socket.SOCK_STREAM, ("127.0.0.1", PLAN["other_port"])),
        "connect to the same port elsewhere": lambda: connect(socket.SOCK_STREAM, ("127.0.0.2", port)),
        "send a datagram": lambda: connect(socket.SOCK_DGRAM, ("127.0.0.1", port)),
        "speak to a program of this machine": lambda: connect(socket.SOCK_STREAM, PLAN["unix"], socket.AF_UNIX),
        "listen": lambda: socket.socket().listen(),
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": forked,
        "trace": lambda: traced(victim),
        "read another's memory": lambda: Path(f"/proc/{victim}/mem").open("rb").close(),
        "read another's environment": lambda: Path(f"/proc/{victim}/environ").read_bytes(),
        "read its doorway's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "signal": lambda: os.kill(victim, 0),
        "change a mode": lambda: Path(PLAN["files"]["the passphrase"]).chmod(0o600),
        "go elsewhere by the doorway": lambda: None if doorway() != b"the gate" else _refused(),
    }  # fmt: skip


def _refused() -> None:
    raise PermissionError("it leads to the gate")


def doorway() -> bytes:
    with socket.create_connection(("127.0.0.1", PLAN["other_port"]), 2) as opened:
        return opened.recv(100)


def tried(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError:
        return "refused"
    return "done"


class Burglar(ImageMethod):
    """Shares films as they are, once it has tried everything."""

    def protect(self, films: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        sys.stdout.write(json.dumps({name: tried(attempt) for name, attempt in attempts().items()}) + "\n")
        return films
