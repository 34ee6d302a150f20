"""Three hospitals and a coordinator: real nginx, SuperLink and SuperNodes, vaults, and what people type.

Where the user may, each of them has a network of its own, and a hospital a link to the coordinator's gate and nothing
else. All that goes through the gate is recorded in clear (`wiretap`), and the memory of the SuperLink while every
hospital's answer lies in it.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from canaries import FINDINGS_IN_ORDER, KEY, NAME, ROW, canaries
from canary import Search
from leaky import CARELESS
from namespaces import HOST, networks, possible
from nodes import permissive
from three_hospitals import SITES, WORDS, ThreeHospitals, provisioned
from wiretap import Overheard, Way, overheard

from fedcxr.deployment.kit import read_server, read_site
from fedcxr.release._packed import MAGIC
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from sites.profile import Profile
from sites.vault import Vault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="there is no nginx"),
]

LIMIT_S = 200.0  # of every run here
FINDINGS = {"findings": {"steps": 4, "width": 4}}
COMPARED: dict[str, dict[str, Any]] = {
    "noise": {"name": "noise", "scale": 0.4},
    "sca": {"name": "sca"},
    "fedavg": {"name": "fedavg", "rounds": 2, "steps": 2, "batch": 8, "width": 4},
}
METHODS: dict[str, dict[str, Any]] = {
    **COMPARED,
    "sca-keyed": {"name": "sca", "ambiguation": "keyed"},
    "sealed": {"name": "sealed"},
    "dp_sgd": {"name": "dp_sgd", "rounds": 1, "steps": 1, "batch": 8},
}
TOLD = {"noise": {FINDINGS_IN_ORDER}}  # in the clear, as their documentation says
LEAKY = "leaky:Leaky"
WAYS: tuple[Way, ...] = ("up", "down")
GUARD_S = 300.0  # until the first hospital answers
PAUSE_S = 55.0  # in which all hospitals answer once the first has; Flower ends a run whose app is silent for a minute
BEGINNING = 256  # bytes of a release, by which it is known


@dataclass(frozen=True)
class Conducted:
    """A run, what was printed of it, what of it is secret, and the SuperLink's memory while all answers lay there."""

    run: Run
    printed: dict[str, Any]
    secrets: Search
    held: bytes | None  # None: this user may not look


@dataclass
class Runs:
    """Those that these parties have conducted, each once; all that is said meanwhile has the name of its method."""

    parties: ThreeHospitals
    heard: Overheard
    vaults: Mapping[str, Vault]
    _known: dict[str, Conducted] = field(default_factory=dict)

    def of(self, name: str, method: Mapping[str, Any]) -> Conducted:
        if name not in self._known:
            self._known[name] = self._conduct(name, method)
        return self._known[name]

    def _conduct(self, name: str, method: Mapping[str, Any]) -> Conducted:
        document = planned(method, FINDINGS if name in COMPARED else {})
        plan = self.parties.folder / "scenario.yaml"
        plan.write_text(yaml.safe_dump(document))
        self.heard.topic = name
        paused: list[psutil.Process] = []
        with ThreadPoolExecutor(1) as pool:
            if readable(self.superlink()):
                self.heard.before = MAGIC, lambda: paused.extend(self._pause())
            waiting = pool.submit(
                self.parties.fedcxr, "submit", str(plan), "--kit", str(self.parties.server), "--format", "json"
            )
            try:
                held = self._held(waiting, paused) if self.heard.before else None
            finally:
                for process in paused:
                    process.resume()
            done = waiting.result()
        assert done.returncode == 0, done.stderr
        run = Run.place(self.parties.server / "runs", Scenario.parse(document))
        return Conducted(run, json.loads(done.stdout), canaries(self.parties, self.vaults, run.scenario), held)

    def superlink(self) -> psutil.Process:
        (found,) = self.parties.below("server", "flower-superlink")
        return found

    def _pause(self) -> list[psutil.Process]:
        """The coordinator's app, which would fetch the answers."""
        apps = self.parties.below("server", "server.launcher")
        for process in apps:
            process.suspend()
        return apps

    def _held(self, waiting: Future[Any], paused: list[psutil.Process]) -> bytes:
        """The SuperLink's memory, with the answer of every hospital in it."""
        deadline, first = time.monotonic() + GUARD_S, True
        while True:
            if first and paused:
                deadline, first = time.monotonic() + PAUSE_S, False
            answers = [self._answer(site) for site in SITES] if paused else [b""]
            if all(answers):
                held = memory(self.superlink())
                if all(answer in held for answer in answers):
                    return held
            assert not waiting.done(), waiting.result()
            assert time.monotonic() < deadline, f"{len(list(filter(None, answers)))} answers"
            time.sleep(0.1)

    def _answer(self, site: str) -> bytes:
        """How a hospital's release begins, once it was said."""
        for said in self.heard.said(self.heard.topic, site, "up"):
            if (place := said.find(MAGIC)) >= 0 and len(said) > place + BEGINNING:
                return said[place : place + BEGINNING]
        return b""

    def crossed(self, name: str) -> list[bytes]:
        return [said for site in SITES for way in WAYS for said in self.heard.said(name, site, way)]

    def on_file(self, run: Run) -> list[bytes]:
        """All that the coordinator's processes have on disk, but for other runs."""
        kit = self.parties.server
        places = [*kit.rglob("*"), *self.parties.scratch.rglob("*"), self.parties.folder / "server.log"]
        others = [path for path in (kit / "runs").glob("*/*") if path != run.folder]
        mine = (path for path in places if not any(path.is_relative_to(other) for other in others))
        return [path.read_bytes() for path in mine if path.is_file()]


def readable(process: psutil.Process) -> bool:
    """Whether this user may look into its memory."""
    try:
        with Path(f"/proc/{process.pid}/mem").open("rb"):
            return True
    except OSError:
        return False


def memory(process: psutil.Process) -> bytes:
    """All that a process has written and can write to."""
    held = []
    with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line):
                start, end = (int(bound, 16) for bound in bounds.groups())
                with contextlib.suppress(OSError):  # a device's, or gone meanwhile
                    file.seek(start)
                    held.append(_used(file.read(end - start)))
    return b"".join(held)


def _used(data: bytes) -> bytes:
    """Without the pages that nobody has written to, which are most."""
    pages = np.frombuffer(data, np.uint8).reshape(-1, mmap.PAGESIZE)
    return pages[pages.any(axis=1)].tobytes()


@pytest.fixture(scope="module", params=["networks" if possible() else "loopback"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with contextlib.ExitStack() as stack:
        apart = stack.enter_context(networks(SITES)) if request.param == "networks" else None
        methods = {**permissive()["methods"], LEAKY: {}}
        budget = permissive()["budget"] | {"privacy": None}
        folder = tmp_path_factory.mktemp("n")
        parties = provisioned(folder, apart, methods=methods, outside=[LEAKY], budget=budget)
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in parties.secrets.items():
            environment.setenv(name, value)
        heard = stack.enter_context(overheard(parties))
        stack.callback(parties.end)
        for who in ("server", *SITES):
            parties.start(who)
        parties.wait_online()
        yield Runs(parties, heard, {site: stack.enter_context(_vault(parties, site)) for site in SITES})


def _vault(parties: ThreeHospitals, site: str) -> Vault:
    return Vault.unlock(Profile.read(parties.profile(site)).vault_folder, WORDS)


def planned(method: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Any]:
    compute = {"device": "cpu", "precision": "fp32", "timeout_s": LIMIT_S}
    return {"sites": dict.fromkeys(SITES, "own"), "method": method, "tasks": tasks, "compute": compute}


@pytest.mark.parametrize("method", COMPARED)
def test_nodes_give_what_the_same_vaults_give_in_one_process(runs: Runs, method: str, tmp_path: Path) -> None:
    nodes = runs.of(method, METHODS[method])
    there = nodes.printed
    assert [site["status"] for site in there["sites"]] == ["ok"] * len(SITES)
    here = runs.parties.in_one_process(nodes.run.scenario, tmp_path)
    assert here.result is not None
    assert there["utility"] == here.result["utility"]
    assert [r.digest() for r in nodes.run.releases(SITES)] == [r.digest() for r in here.releases(SITES)]
    assert there["privacy"]["attacks"] == []
    assert set(there["unmeasured"]) >= {"privacy.attacks", "privacy.label_floor"}


def test_a_hospital_reaches_the_gate_and_nothing_else(runs: Runs) -> None:
    parties = runs.parties
    if parties.networks is None:
        pytest.skip("this user cannot make networks: all are on loopback")
    told, other = read_server(parties.server), read_site(parties.site("ukb"))
    with parties.at("mercy"):
        socket.create_connection((HOST, told.port), 5).close()
        for place in [(HOST, told.superlink_port), ("10.77.3.2", other.runtime_port), ("192.0.2.1", 443)]:
            with pytest.raises(OSError, match=r"refused|unreachable"):
                socket.create_connection(place, 5)
    with parties.at("server"):
        socket.create_connection(("127.0.0.1", told.superlink_port), 5).close()


@pytest.mark.parametrize("method", METHODS)
def test_what_crosses_the_wire_and_what_the_coordinator_keeps_show_no_film_no_name_and_no_key(
    runs: Runs, method: str
) -> None:
    """Findings in the clear, which noise releases, are found: so would be those that others seal."""
    conducted = runs.of(method, METHODS[method])
    run, search = conducted.run, conducted.secrets
    crossed, files = runs.crossed(method), runs.on_file(run)
    assert search.found(*crossed) == TOLD.get(method, set())
    assert search.found(*files) == TOLD.get(method, set())
    asked = run.scenario.to_yaml().encode()
    for site, release in zip(SITES, run.releases(SITES), strict=True):
        assert any(asked in said for said in runs.heard.said(method, site, "down"))
        assert any(release.to_bytes() in said for said in runs.heard.said(method, site, "up"))
        assert any(release.to_bytes() in file for file in files)
    assert not any(b"content-encoding" in said.lower() for said in crossed), "or more would have to be unpacked"


@pytest.mark.parametrize("method", METHODS)
def test_what_the_superlink_holds_shows_no_film_no_name_and_no_key(runs: Runs, method: str) -> None:
    """All answers lie in its memory, which has been made sure of; on disk it has a log and nothing else."""
    conducted = runs.of(method, METHODS[method])
    if conducted.held is None:
        pytest.skip("this user may not look into the memory of other processes")
    assert conducted.secrets.found(conducted.held) == TOLD.get(method, set())
    assert {Path(file.path).suffix for file in runs.superlink().open_files()} <= {".log"}


def test_a_hospital_that_gives_away_a_row_a_name_and_a_key_is_caught_in_all_three_places(runs: Runs) -> None:
    conducted = runs.of("leaky", {"name": LEAKY, "scale": 0.4})
    search = conducted.secrets
    given = {ROW, NAME, KEY, FINDINGS_IN_ORDER}
    assert search.found(*runs.heard.said("leaky", CARELESS, "up")) == given
    assert search.found(*runs.heard.said("leaky", "ukb", "up")) == {FINDINGS_IN_ORDER}
    assert search.found(*runs.on_file(conducted.run)) == given
    if conducted.held is not None:
        assert search.found(conducted.held) == given
