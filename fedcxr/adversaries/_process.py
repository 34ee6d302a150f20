"""How a process for an adversary is started: with nothing of ours but what it needs, and nothing of its own yet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HOME", "FEDCXR_WEIGHTS")
LIBRARIES = ("site-packages", "dist-packages")


def command(module: str, *arguments: str) -> list[str]:
    """`python -m module`, without the working folder: a `torch.py` or a `server` in it would run before any fence."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(threads: int = 1) -> dict[str, str]:
    """No secrets, proxies or paths of the user's: only what Python and the drivers need.

    Of the coordinator's search path only our own code and libraries, because Python runs a `sitecustomize` of any
    folder on it when it starts.
    """
    ours = str(Path(__file__).resolve().parents[2])
    libraries = [path for path in sys.path if Path(path).name in LIBRARIES]
    return {
        **{name: os.environ[name] for name in KEPT if name in os.environ},
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([ours, *libraries])),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
