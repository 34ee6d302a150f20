"""The coordinator's side of real nodes: a gate that hospitals reach, and behind it, on loopback, Flower's SuperLink."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from fedcxr.deployment.run_folder import QUIET, RunFolder
from fedcxr.deployment.supervision import Part, Together, together
from fedcxr.errors import ConfigError
from server.control import Control
from server.launcher import KIT

HERE = "127.0.0.1"
READY_S = 60.0  # within which a SuperLink answers


@contextmanager
def started(kit: Path, port: int) -> Iterator[Together]:
    """Gate, SuperLink and what carries out its tasks, with every hospital of the kit admitted."""
    run = RunFolder(kit)
    with together() as parts:
        for part in _parts(kit, port, run):
            parts.start(part)
            if part.name == "superlink":
                with Control.of(f"{HERE}:{port}", kit / "ca.crt") as control:
                    parts.until(control.answers, READY_S, "the SuperLink")
                    _admit(control, kit)
        yield parts


def _parts(kit: Path, port: int, run: RunFolder) -> Iterator[Part]:
    here = {**os.environ, **QUIET, "FLWR_HOME": str(run.path / "flower"), KIT: str(kit)}
    programs = str(Path(sys.executable).parent)
    ours = str(run.program("flwr-serverapp", "server.launcher"))
    path = os.pathsep.join((ours, programs, os.environ.get("PATH", "")))
    secret = str(run.secret())
    certificate = ["--ssl-certfile", str(kit / "server.crt"), "--ssl-keyfile", str(kit / "private" / "server.key")]
    superlink = [
        *(_flower("flower-superlink"), *certificate, "--ssl-ca-certfile", str(kit / "ca.crt")),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation", "--isolation", "process"),
        *("--superexec-auth-secret-file", secret, "--host", HERE, "--port", str(port)),
    ]
    yield Part("superlink", superlink, run.log("superlink"), {**here, "PATH": path})
    superexec = [
        *(_flower("flower-superexec"), "--runtime-api-address", f"{HERE}:{port}"),
        *("--root-certificates", str(kit / "ca.crt"), "--superexec-auth-secret-file", secret),
    ]
    yield Part("superexec", superexec, run.log("superexec"), {**here, "PATH": path})
    gate = [_nginx(), "-p", str(kit), "-c", "nginx.conf", "-g", "daemon off;"]
    # nginx that is killed leaves its workers at the port, who let in whoever was let in when they began.
    yield Part("gate", gate, run.log("gate"), here, orphaned="TERM")


def _flower(program: str) -> str:
    return str(Path(sys.executable).parent / program)


def _nginx() -> str:
    found = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if found is None:
        raise ConfigError("hospitals come through nginx, and there is none here", do="apt install nginx-light")
    return found


def _admit(control: Control, kit: Path) -> None:
    """Enter the key of every hospital's node; the SuperLink keeps them in memory alone."""
    for name, key in node_keys(kit).items():
        control.admit(key, name)


def node_keys(kit: Path) -> Mapping[str, bytes]:
    """By site, its node's public key as Flower knows it."""
    texts = {file.stem: file.read_bytes() for file in sorted((kit / "nodes").glob("*.pub"))}
    return {
        name: load_ssh_public_key(text).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for name, text in texts.items()
    }
