"""Ray's cluster of one run, which nobody else on this machine can talk to, or one that somebody else started.

Whoever can write to a cluster runs code as its owner. So every process of ours asks for a token, a new one for every
run, listens on loopback only, and keeps its sockets and logs in a folder that only its owner may enter.
"""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcxr.errors import ConfigError, Refused
from fedcxr.scenario import Scenario
from fedcxr.storage.private import write_new

SCRATCH = "fedcxr-ray-"
MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # what binds Ray to 127.0.0.1, on Linux as well
PROBE = "/ray.rpc.InternalKVGcsService/InternalKVKeys"  # reads what actors are made of
PROBE_S = 10.0
HERE = "127.0.0.1"
ANSWERS_S = 5.0  # within which whoever is there takes a call


@dataclass(frozen=True)
class Cluster:
    """What an engine's process must know of the cluster it starts or joins."""

    scratch: Path
    environment: Mapping[str, str]
    address: str = ""  # of one that runs; empty: our own

    @classmethod
    @contextmanager
    def of(cls, address: str | None, access: Mapping[str, str]) -> Iterator[Cluster]:
        """Our own cluster, or the one at `address`, to which `access` is what `joined` returned."""
        _sweep()
        # Ray's sockets need a short path, which a run folder need not have.
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
            scratch = Path(folder)
            yield cls(scratch, access, address) if address else cls(scratch, _closed(scratch))

    def around(self, environment: Mapping[str, str]) -> dict[str, str]:
        """This environment as processes of the cluster need it: a token of the user's own would come before ours."""
        kept = {name: value for name, value in environment.items() if self.address or name != TOKEN}
        return {**kept, **self.environment, "FLWR_HOME": str(self.scratch)}


def init_args(scratch: Path, address: str) -> dict[str, Any]:
    """Of `ray.init`. Without "local", Ray would join any cluster it finds on this machine, or wait for a gone one."""
    # Ray lets everybody into the folder it is given, so that must lie in one that nobody else enters.
    start = {"address": address} if address else {"address": "local", "_temp_dir": str(scratch / "ray")}
    return start | {"include_dashboard": False, "log_to_driver": False, "logging_level": "warning"}


def start_ray(arguments: Mapping[str, Any]) -> None:
    """A cluster of our own, in this process, of the parts that a run needs.

    Flower starts Ray where nobody has, and tells it the import path, which all that we start inherit anyway: Ray starts
    an actor twice for that. Nor does it let go of what makes a cluster grow, passes logs on and shows itself to
    browsers, each a process of its own that takes seconds to start.
    """
    node = importlib.import_module("ray._private.node").Node
    for unneeded in ("start_monitor", "start_log_monitor", "start_api_server"):
        setattr(node, unneeded, lambda self, **settings: None)
    importlib.import_module("ray").init(**arguments)


def import_nothing_from_here() -> None:
    """Ray's actors would import first what lies in the folder that the user happens to be in, where others may write.

    Ray leaves that out for jobs that bring a folder of their own, and has no switch for those that want none.
    """
    importlib.import_module("ray.job_config").JobConfig._runtime_env_has_working_dir = lambda config: True


def joined(scenario: Scenario, address: str) -> dict[str, str]:
    """The environment in which a cluster that somebody else started is joined, if its token keeps strangers away."""
    _check_answers(address)
    why = None if _has_token() else "there is no token"
    why = why or _open_to_strangers(address)
    if why is not None:
        _allow_for_rendered_films(scenario, f"{address}: {why}")
    return {MODE: "token"} if _has_token() else {}


def check_loopback() -> None:
    """Refuse at once where Ray would wait for minutes: its processes talk to each other on this machine's own address.

    A container without a network may lack it. An empty datagram is sent to ourselves: nothing listens meanwhile that a
    neighbour could talk to.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
            ours.bind((HERE, 0))
            ours.settimeout(ANSWERS_S)
            ours.connect(ours.getsockname())  # whatever comes from elsewhere is not taken
            ours.send(b"")
            ours.recv(1)
    except OSError as error:
        raise ConfigError(
            f"Ray needs this machine's loopback interface, and {HERE} cannot be reached",
            given=error.strerror or str(error),
            do="switch it on (ip link set lo up), or use --engine inline",
        ) from None


def _check_answers(address: str) -> None:
    """Refuse an address at which nobody is, before anything waits for a cluster there."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError("this is not the address of a Ray cluster", given=address, allowed="HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_S).close()
    except OSError as error:
        raise ConfigError(
            "no Ray cluster answers at --ray-address",
            given=f"{address}, {error.strerror or error}",
            do="start one there (ray start --head), correct the address, or leave --ray-address out",
        ) from None


def check_own_process(scenario: Scenario) -> None:
    """The same for Flower's own runtime, where Ray has been started in this process before we were."""
    if "ray" in sys.modules and os.environ.get(MODE) != "token":
        _allow_for_rendered_films(scenario, f"{MODE} is {os.environ.get(MODE) or 'not set'}")


def _allow_for_rendered_films(scenario: Scenario, why: str) -> None:
    what = "a cluster that asks for no token is open to everybody"
    do = f"start the cluster with {MODE}=token, and name the file of its token in {TOKEN_PATH}"
    if scenario.real:
        raise Refused(what, given=why, do=f"{do}; or let fedcxr simulate start its own")
    sys.stderr.write(f"warning: {what}, who can run code as you; given: {why}; {do}\n")


def _closed(scratch: Path) -> dict[str, str]:
    """The environment of our own cluster, with a token that was never used before."""
    token = scratch / "token"
    write_new(token, secrets.token_hex(32).encode())
    return {**LOOPBACK, MODE: "token", TOKEN_PATH: str(token)}


def _has_token() -> bool:
    """Whether Ray will find one: where it looks, in its order."""
    places = [os.environ.get(TOKEN_PATH) or "", str(Path.home() / ".ray" / "auth_token")]
    return bool(os.environ.get(TOKEN)) or any(Path(place).is_file() for place in places if place)


def _open_to_strangers(address: str) -> str | None:
    """What a stranger, who has no token, is told that they should not be; None: they are sent away."""
    grpc: Any = importlib.import_module("grpc")  # here and not above: only who joins a cluster needs it
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(PROBE)(b"", timeout=PROBE_S, wait_for_ready=True)
        except grpc.RpcError as error:
            # Every other answer is of something that is no cluster of ours to trust, or of nobody.
            status = error.code().name
            return None if status == "UNAUTHENTICATED" else f"it says {status}"
    return "it answers without one"


def _sweep() -> None:
    """Remove what commands left behind that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        owner = folder.name.removeprefix(SCRATCH).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and _is_ours(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have built what lies there, as deep as it takes for a removal to fail."""
    try:
        return folder.lstat().st_uid == os.geteuid()
    except OSError:  # gone meanwhile
        return False
