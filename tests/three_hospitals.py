"""A consortium as its people set it up, on loopback or in networks of its own: every command, and every process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from namespaces import HOST, Networks
from nodes import permissive
from ports import free_ports

from fedcxr.deployment.kit import read_server
from fedcxr.errors import EngineBroken
from fedcxr.keys.coordinator import read_identity
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server import hospitals
from server.control import Control
from server.inline import InlineGrid
from server.register import Register
from sites.app import app
from sites.counter import VARIABLE as COUNTERS
from sites.passphrase import VARIABLE

SITES = ("charite", "mercy", "ukb")
WORDS = b"correct horse battery staple"
PATIENTS, SIZE = 24, 32
ONLINE_S = 120.0


@dataclass
class ThreeHospitals:
    """Folders of three hospitals and their coordinator, and what each of them has started."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    networks: Networks | None = None  # None: all are on loopback

    def at(self, who: str) -> contextlib.AbstractContextManager[None]:
        """This thread, and what it starts, is in the network of the coordinator (`server`) or of a hospital."""
        return contextlib.nullcontext() if self.networks is None else self.networks.inside(who)

    @property
    def server(self) -> Path:
        return self.folder / "kits" / "server"

    def site(self, name: str) -> Path:
        """The hospital's own copy of its kit."""
        return self.folder / "hospitals" / name

    def profile(self, name: str) -> Path:
        return self.site(name) / "profile.yaml"

    @property
    def secrets(self) -> Mapping[str, str]:
        """Where passphrase and counters are, which on one machine are everybody's."""
        return {VARIABLE: str(self.folder / "words"), COUNTERS: str(self.folder / "counters")}

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ | self.secrets | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def fedcxr(self, *arguments: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """One command, as people type it, at the coordinator's."""
        with self.at("server"):
            return subprocess.run(
                [sys.executable, "-P", "-m", "fedcxr.cli", *arguments],
                env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
            )  # fmt: skip

    @property
    def scratch(self) -> Path:
        """Where the coordinator's processes have their temporary files."""
        return self.folder / "scratch"

    def start(self, who: str) -> None:
        """The coordinator's server, or a hospital's node."""
        words = ("server", "start", str(self.server)) if who == "server" else ("site", "start", str(self.site(who)))
        places = {"TMPDIR": str(self.scratch)} if who == "server" else {}
        with (self.folder / f"{who}.log").open("ab") as log, self.at(who):
            self.running[who] = subprocess.Popen(
                [sys.executable, "-P", "-m", "fedcxr.cli", *words],
                env={**self.environment, **places}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, who: str, how: signal.Signals = signal.SIGKILL) -> None:
        child = self.running.pop(who)
        child.send_signal(how)
        child.wait(60)

    def submitting(self, scenario: Path) -> subprocess.Popen[str]:
        """`fedcxr submit`, while it waits."""
        with self.at("server"):
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "fedcxr.cli", "submit", str(scenario), "--kit", str(self.server)],
                env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                preexec_fn=_listening,  # noqa: PLW1509
            )  # fmt: skip

    def log(self, who: str) -> str:
        """What it said to whoever started it."""
        return (self.folder / f"{who}.log").read_text()

    def keep_up(self, seconds: float = ONLINE_S) -> None:
        """What systemd does: start again whoever has ended, until all that should run are connected."""
        deadline = time.monotonic() + seconds
        while not all(self.connected(who) for who in self.running if who != "server"):
            for who, child in [*self.running.items()]:
                if child.poll() is not None:
                    self.start(who)
            assert time.monotonic() < deadline, {who: self.log(who) for who in self.running}
            time.sleep(0.5)

    def connected(self, site: str) -> bool:
        """Whether this very start of its node is; the coordinator has one that was killed as connected for a while."""
        log = (self.site(site) / "run" / "supernode.log").read_text()
        since = log.rpartition("Starting Flower SuperNode")[2]
        return self.running[site].poll() is None and "SuperNode ID" in since and "terminated" not in since

    def below(self, who: str, program: str) -> list[psutil.Process]:
        """The processes of this party that run this program or module now."""
        try:
            below = psutil.Process(self.running[who].pid).children(recursive=True)
            alive = (process for process in below if process.status() != psutil.STATUS_ZOMBIE)
            return [process for process in alive if any(program in word for word in process.cmdline())]
        except psutil.NoSuchProcess:
            return []

    def in_one_process(self, scenario: Scenario, out: Path) -> Run:
        """The same hospitals, asked without a wire: what is random comes from their vaults, and comes again."""
        grid = InlineGrid(app, len(SITES), workers=1)
        for context, name in zip(grid._contexts.values(), SITES, strict=True):
            context.node_config = {"profile": str(self.profile(name))}
        run = Run.place(out, scenario)
        known = Register.read(self.server / "cards", read_identity(self.server / "private" / "coordinator"))
        with pytest.MonkeyPatch.context() as environment:
            for name, value in self.secrets.items():
                environment.setenv(name, value)
            hospitals.conduct(grid, run, known, None)
        return run

    def end(self) -> None:
        for child in self.running.values():
            child.send_signal(signal.SIGTERM)
        for child in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)
            child.kill()

    @contextlib.contextmanager
    def control(self) -> Iterator[Control]:
        port = read_server(self.server).superlink_port
        with self.at("server"), Control.of(f"127.0.0.1:{port}", self.server / "ca.crt") as opened:
            yield opened

    def online(self) -> int:
        """How many nodes are connected."""
        try:
            with self.control() as control:
                return sum(node.status == "online" for node in control.nodes().values())
        except EngineBroken:
            return 0

    def wait_online(self, sites: int = len(SITES)) -> None:
        deadline = time.monotonic() + ONLINE_S
        while self.online() != sites:
            for who, child in self.running.items():
                assert child.poll() is None, (self.folder / f"{who}.log").read_text()
            assert time.monotonic() < deadline, "\n".join(file.read_text() for file in self.folder.glob("*.log"))
            time.sleep(0.5)


def provisioned(folder: Path, networks: Networks | None = None, **profile: Any) -> ThreeHospitals:
    """From nothing to kits in place: a vault at each hospital, its request, and its certificate.

    `profile` is what the hospitals' profiles say otherwise than they usually do here.
    """
    parties = ThreeHospitals(folder, networks=networks)
    plan = folder / "consortium.yaml"
    server, *sites = free_ports(2 + len(SITES))
    host = "localhost" if networks is None else HOST
    document = {"name": "loopback", "host": host, "port": server, "superlink_port": sites.pop()}
    document["sites"] = {name: {"runtime_port": port} for name, port in zip(SITES, sites, strict=True)}
    plan.write_text(yaml.safe_dump(document))
    words = folder / "words"
    words.touch(mode=0o600)
    words.write_bytes(WORDS)
    provision = ("provision", str(plan), "--out", str(folder / "kits"))
    _well(parties.fedcxr(*provision))
    (folder / "hospitals").mkdir(mode=0o700)
    parties.scratch.mkdir(mode=0o700)
    for number, name in enumerate(SITES):
        shutil.copytree(folder / "kits" / name, parties.site(name))
        vault = parties.site(name) / "vault"
        _well(parties.fedcxr("keys", "init", "--site", name, "--vault", str(vault)))
        parties.profile(name).write_text(yaml.safe_dump({**_profile(parties.site(name), name, number), **profile}))
        parties.profile(name).chmod(0o600)
        _well(parties.fedcxr("site", "request", str(parties.site(name))))
        shutil.copy(parties.site(name) / "request.json", folder / "kits" / "requests" / f"{name}.json")
    _well(parties.fedcxr(*provision))
    for name in SITES:
        shutil.copy(folder / "kits" / name / "node.crt", parties.site(name))
    return parties


def _profile(kit: Path, name: str, seed: int) -> dict[str, Any]:
    films = {"source": "phantom", "patients": PATIENTS, "size": SIZE, "seed": seed}
    return permissive(site=name, vault=str(kit / "vault"), cohort=films, coordinator=str(kit / "coordinator.card"))


def _listening() -> None:
    """As at a terminal: where tests run in the background, Ctrl-C means nothing to their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _well(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
