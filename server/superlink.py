"""The coordinator's side of real nodes: a gate that hospitals reach, and behind it, on loopback, Flower's SuperLink."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from fedcxr.deployment.checks.software import nginx
from fedcxr.deployment.kit import AUTHORITY, NODES, SERVER_CERTIFICATE, SERVER_KEY
from fedcxr.deployment.run_folder import PROGRAMS, RunFolder
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
                with Control.of(f"{HERE}:{port}", kit / AUTHORITY) as control:
                    parts.until(control.answers, READY_S, "the SuperLink")
                    _admit(control, kit)
        yield parts


def _parts(kit: Path, port: int, run: RunFolder) -> Iterator[Part]:
    here = {**run.environment, KIT: str(kit)}
    tasks = {**here, "PATH": run.path_to("flwr-serverapp", "server.launcher")}
    secret, authority = str(run.secret()), str(kit / AUTHORITY)
    certificate = ["--ssl-certfile", str(kit / SERVER_CERTIFICATE), "--ssl-keyfile", str(kit / SERVER_KEY)]
    superlink = [
        *(str(PROGRAMS / "flower-superlink"), *certificate, "--ssl-ca-certfile", authority),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation", "--isolation", "process"),
        *("--superexec-auth-secret-file", secret, "--host", HERE, "--port", str(port)),
    ]
    yield Part("superlink", superlink, run.log("superlink"), tasks)
    superexec = [
        *(str(PROGRAMS / "flower-superexec"), "--runtime-api-address", f"{HERE}:{port}"),
        *("--root-certificates", authority, "--superexec-auth-secret-file", secret),
    ]
    yield Part("superexec", superexec, run.log("superexec"), tasks)
    gate = [_nginx(), "-p", str(kit), "-c", "nginx.conf", "-g", "daemon off;"]
    # nginx that is killed leaves its workers at the port, who let in whoever was let in when they began.
    yield Part("gate", gate, run.log("gate"), here, orphaned="TERM")


def _nginx() -> str:
    found = nginx()
    if found is None:
        raise ConfigError("hospitals come through nginx, and there is none here", do="apt install nginx-light")
    return found


def _admit(control: Control, kit: Path) -> None:
    """Enter the key of every hospital's node, as Flower knows it; the SuperLink keeps them in memory alone."""
    for file in sorted((kit / NODES).glob("*.pub")):
        key = load_ssh_public_key(file.read_bytes())
        control.admit(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), file.stem)
