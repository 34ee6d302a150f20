"""What is made anew whenever a party starts: a secret, and the program that Flower finds under its own's name."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from fedcxr.deployment.kit import RUN
from fedcxr.storage.private import private_folder, write_new

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",  # it must not call home
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",  # seconds, in place of one: every message waits for half of it
}
# How Flower's processes wait for parts of a message that are on their way to them: its own wait for a second, then two,
# four, eight, in which the parts have long arrived. As long in all as its own, which is two hours.
EAGER = {"initial_backoff": 0.1, "backoff_cap": 1.0, "max_tries_per_object": None}
SECRET_BYTES = 32
PROGRAMS = Path(sys.executable).parent  # where Flower's own lie


class RunFolder:
    """The folder `run` of a kit, which nobody else may enter."""

    def __init__(self, kit: Path) -> None:
        self.path = private_folder(kit / RUN)

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def secret(self) -> Path:
        """A new secret by which what carries out tasks is known to what hands them out."""
        file = self.path / "secret"
        file.unlink(missing_ok=True)
        write_new(file, secrets.token_bytes(SECRET_BYTES))
        return file

    @property
    def environment(self) -> Mapping[str, str]:
        """Of Flower's processes: ours, but that they are quiet and leave everything here."""
        return {**os.environ, **QUIET, "FLWR_HOME": str(self.path / "flower")}

    def path_to(self, name: str, module: str) -> str:
        """A PATH on which an executable of this name runs a module of ours, and all others of Flower's are its own.

        What it says has a log of its own: whoever starts it may be silent about it.
        """
        folder = private_folder(self.path / "bin")
        file = folder / name
        file.unlink(missing_ok=True)
        ours, log = shlex.quote(sys.executable), shlex.quote(str(self.log(name)))
        write_new(file, f'#!/bin/sh\nexec {ours} -P -m {module} "$@" >> {log} 2>&1\n'.encode())
        file.chmod(0o700)
        return os.pathsep.join((str(folder), str(PROGRAMS), os.environ.get("PATH", "")))
