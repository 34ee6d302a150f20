"""Ports of this machine: free, held by this kit's own processes, or by somebody else's."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from fedcxr.deployment.checks.check import Outcome, fine, insecure, wrong

HERE, EVERYWHERE = "127.0.0.1", ""
SECONDS = 5.0


@dataclass(frozen=True)
class Holder:
    """Who listens, as far as this user may know."""

    pid: int | None
    command: str

    def __str__(self) -> str:
        return f"{self.command} (PID {self.pid})" if self.pid else "another user's process"


def runtime_port(folder: Path, port: int) -> Outcome:
    """Where a site's app asks its node."""
    taken = _taken(HERE, port)
    if not taken:
        return fine(f"{HERE}:{port} is free")
    holder = holder_of(port, folder)
    if str(folder) in holder.command:
        return fine(f"{HERE}:{port} is this kit's own node's, PID {holder.pid}")
    return wrong(
        f"{HERE}:{port} {taken}: {_short(holder)}",
        "stop it, or give this site another runtime_port in the consortium's document and provision again",
    )


def served(folder: Path, where: str, port: int, key: str) -> Outcome:
    """A port of the coordinator's, at which this kit's server may be at work; `key` is its name in the document."""
    taken = _taken(where, port)
    address = f"{where or '*'}:{port}"
    if not taken:
        return fine(f"{address} is free")
    if "permission" in taken:
        return wrong(f"{address}: {taken}", f"choose a {key} above 1023, or start it by its systemd unit")
    holder = _short(holder_of(port, folder))
    change = f"stop it, or change {key} in the consortium's document and provision again"
    try:
        _greet(folder / "ca.crt", port)
    except ssl.SSLCertVerificationError:
        return insecure(f"{address} is held by a server of other people's: {holder}", change)
    except (OSError, ssl.SSLError):
        return wrong(f"{address} is held by something else: {holder}", change)
    return fine(f"{address} answers with this consortium's certificate")


def holder_of(port: int, folder: Path) -> Holder:
    """Who listens on a port: preferably one that was started with this kit."""
    import psutil

    listening = []
    with contextlib.suppress(psutil.Error, OSError):
        listening = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    holders = [_named(one.pid) for one in listening if one.laddr and one.laddr[1] == port]
    return min(holders, key=lambda one: str(folder) not in one.command, default=Holder(None, ""))


def _named(pid: int | None) -> Holder:
    import psutil

    command = ""
    with contextlib.suppress(psutil.Error):
        command = " ".join(psutil.Process(pid).cmdline()) if pid else ""
    return Holder(pid, command)


def _short(holder: Holder) -> str:
    words = holder.command.split()
    name = " ".join([Path(words[0]).name, *words[1:3]]) if words else "a process"
    return str(Holder(holder.pid, name))


def _taken(where: str, port: int) -> str:
    """Why nothing can listen there; empty if it can."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            trial.bind((where, port))
            trial.listen(1)
        except PermissionError:
            return "without permission"
        except OSError:
            return "is taken"
    return ""


def _greet(authority: Path, port: int) -> None:
    """Shake hands as whoever knows this authority alone."""
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection((HERE, port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        pass
