"""What becomes of a run at three hospitals whose machines are killed, stopped and lied to: one consortium for all."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from canary import leaks
from three_hospitals import SITES, WORDS, ThreeHospitals, provisioned

from fedcxr.keys.coordinator import read_identity
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server import hospitals
from server.control import BUNDLE
from server.inline import InlineGrid
from server.register import Register
from server.submission import SUBMITTED
from sites.app import app
from sites.profile import Profile
from sites.vault import Vault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="there is no nginx"),
    pytest.mark.xdist_group("nodes"),
]

LIMIT_S = 60.0  # of every run here
HEARTBEAT_S = 60.0  # after which Flower takes a process for dead that says nothing more
SLACK_S = 30.0  # for processes to start and to end on a busy machine
NOISE = {"name": "noise", "scale": 0.4}


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeHospitals]:
    parties = provisioned(tmp_path_factory.mktemp("f"))
    try:
        for who in ("server", *SITES):
            parties.start(who)
        parties.wait_online()
        yield parties
    finally:
        parties.end()


def planned(parties: ThreeHospitals, seed: int, method: Mapping[str, Any] = NOISE, **more: Any) -> tuple[Path, Run]:
    """A scenario's file, and the run folder it will have."""
    compute = {"device": "cpu", "precision": "fp32", "timeout_s": LIMIT_S}
    of = {"sites": dict.fromkeys(SITES, "own"), "seed": seed, "method": method, "tasks": {}, "compute": compute, **more}
    file = parties.folder / f"{method['name']}-{seed}.yaml"
    file.write_text(yaml.safe_dump(of))
    return file, Run.place(parties.server / "runs", Scenario.parse(of))


def until(so: Callable[[], Any], seconds: float = LIMIT_S, what: str = "") -> Any:
    """What it says, once it says anything."""
    deadline = time.monotonic() + seconds
    while not (found := so()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def answering(parties: ThreeHospitals, site: str) -> list[psutil.Process]:
    """The processes that answer a message at this site now."""
    return _below(parties, site, "sites.launcher")


def _below(parties: ThreeHospitals, who: str, module: str) -> list[psutil.Process]:
    try:
        below = psutil.Process(parties.running[who].pid).children(recursive=True)
        return [one for one in below if one.status() != psutil.STATUS_ZOMBIE and module in one.cmdline()]
    except psutil.NoSuchProcess:
        return []


def asked_to_release(parties: ThreeHospitals, site: str) -> list[psutil.Process]:
    """The processes that work on its release, once a site has introduced itself."""
    log = parties.site(site) / "run" / "supernode.log"
    heard = log.read_text().count("query.release message") if log.is_file() else 0
    return answering(parties, site) if heard > parties_heard.get(site, 0) else []


parties_heard: dict[str, int] = {}


def listen(parties: ThreeHospitals) -> None:
    """From now on `asked_to_release` is about requests that come."""
    for site in SITES:
        log = parties.site(site) / "run" / "supernode.log"
        parties_heard[site] = log.read_text().count("query.release message")


def entries(parties: ThreeHospitals, site: str, run: Run) -> list[dict[str, Any]]:
    """What the site's ledger says of answers to this run that were signed; the ledger is whole."""
    own = str(parties.profile(site))
    verified = parties.fedcxr("site", "ledger", "verify", own)
    assert verified.returncode == 0, verified.stderr
    told = parties.fedcxr("site", "ledger", "show", own, "--format", "json")
    shown = json.loads(told.stdout)["entries"]
    return [one for one in shown if one["what"] == "signed" and one["run"] == run.scenario.run_name]


def statuses(run: Run) -> dict[str, tuple[str, str | None]]:
    assert run.result is not None
    return {site["name"]: (site["status"], site["reason"]) for site in run.result["sites"]}


def undisturbed(parties: ThreeHospitals, run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the releases that the same vaults give when nothing is in the way."""
    for name, value in parties.secrets.items():
        monkeypatch.setenv(name, value)
    grid = InlineGrid(app, len(SITES), workers=1)
    for context, name in zip(grid._contexts.values(), SITES, strict=True):
        context.node_config = {"profile": str(parties.profile(name))}
    calm = Run.place(out, run.scenario)
    known = Register.read(parties.server / "cards", read_identity(parties.server / "private" / "coordinator"))
    hospitals.conduct(grid, calm, known, None)
    return [release.digest() for release in calm.releases(SITES)]


def test_the_others_go_on_without_a_site_that_dies_before_it_is_asked_and_one_that_dies_while_it_releases(
    parties: ThreeHospitals,
) -> None:
    file, run = planned(parties, 1, min_sites=1)
    listen(parties)
    parties.kill("mercy")
    waiting, began = parties.submitting(file), time.monotonic()
    at_work = until(lambda: asked_to_release(parties, "ukb"), LIMIT_S + SLACK_S, "ukb is asked")
    node = psutil.Process(parties.running["ukb"].pid).children()
    parties.kill("ukb")
    _, alive = psutil.wait_procs([*node, *at_work], 15)
    assert not alive
    parties.start("ukb")
    assert parties.running["ukb"].wait(SLACK_S) == 75  # what systemd starts again
    assert "has this node as connected still" in parties.log("ukb")
    said, _ = waiting.communicate(timeout=LIMIT_S + SLACK_S)
    assert waiting.returncode == 0, said
    assert time.monotonic() - began < LIMIT_S + SLACK_S
    found = statuses(run)
    assert found["charite"] == ("ok", None)
    assert {found["mercy"][0], found["ukb"][0]} == {"dropped"}
    assert str(found["mercy"][1]).startswith("not connected within 30 s")
    # Which of the two limits is over first, ours or Flower's for the message, is a matter of milliseconds.
    assert re.match("no answer within|its node does not answer", str(found["ukb"][1]))
    parties.start("mercy")
    parties.keep_up(HEARTBEAT_S + SLACK_S)
    assert [len(entries(parties, site, run)) for site in ("charite", "mercy")] == [1, 0]
    assert len(entries(parties, "ukb", run)) <= 1


def test_waiting_may_end_and_the_server_may_die_and_submitting_again_goes_on(
    parties: ThreeHospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run = planned(parties, 2)
    listen(parties)
    first = parties.submitting(file)
    held = []
    for site in ("mercy", "ukb"):
        held += until(partial(asked_to_release, parties, site))
        held[-1].suspend()
    until(lambda: run.release_note("charite"), LIMIT_S, "charite has released")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=SLACK_S)
    assert first.returncode != 0
    with parties.control() as control:
        (number,) = control.at_work(run.scenario.run_name)
        second = parties.submitting(file)
        time.sleep(5)
        assert control.at_work(run.scenario.run_name) == [number]
    assert second.poll() is None
    arrived = run.releases(["charite"])[0].digest()
    parties.kill("server")
    said, _ = second.communicate(timeout=SLACK_S)
    assert second.returncode == 75
    assert "the SuperLink does not answer" in said
    for process in held:
        process.kill()
    parties.start("server")
    assert [parties.running[site].wait(HEARTBEAT_S + SLACK_S) for site in SITES] == [75] * len(SITES)
    parties.keep_up(HEARTBEAT_S + 2 * SLACK_S)
    assert "was started anew" in parties.log("charite")
    listen(parties)
    third = parties.fedcxr("submit", str(file), "--kit", str(parties.server))
    assert third.returncode == 0, third.stderr
    assert {status for status, _ in statuses(run).values()} == {"ok"}
    assert asked_since(parties) == {"charite": 0, "mercy": 1, "ukb": 1}
    digests = [release.digest() for release in run.releases(SITES)]
    assert digests[0] == arrived
    assert digests == undisturbed(parties, run, tmp_path, monkeypatch)
    for site in SITES:
        signed = entries(parties, site, run)
        assert {one["most"] for one in signed} == {signed[0]["most"]}, "the same job is charged once"
        assert len({one["digest"] for one in signed}) == 1


def asked_since(parties: ThreeHospitals) -> dict[str, int]:
    """How many releases each site was asked for since `listen`; its node tells of each twice."""
    asked = {}
    for site in SITES:
        log = (parties.site(site) / "run" / "supernode.log").read_text()
        asked[site] = (log.count("query.release message") - parties_heard[site]) // 2
    return asked


def test_a_server_app_that_dies_ends_the_wait(parties: ThreeHospitals) -> None:
    file, _ = planned(parties, 3)
    earlier = _below(parties, "server", "server.launcher")
    waiting = parties.submitting(file)
    (ours,) = until(lambda: [one for one in _below(parties, "server", "server.launcher") if one not in earlier])
    with parties.control() as control:
        until(lambda: running(control), SLACK_S)
    ours.kill()
    said, _ = waiting.communicate(timeout=HEARTBEAT_S + SLACK_S)
    assert waiting.returncode == 75
    assert re.search("the run has no result.*No heartbeat received.*flwr-serverapp.log", said, re.DOTALL)


def running(control: Any) -> bool:
    """Whether Flower takes any run for one that is at work."""
    from flwr.proto.control_pb2 import ListRunsRequest

    runs = control._ask("ListRuns", ListRunsRequest()).run_dict.values()
    return any(run.status.status == "running" for run in runs)


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # Flower's own, when it builds a bundle
def test_code_that_was_pushed_runs_nowhere_and_a_site_that_cannot_answer_says_so_by_code(
    parties: ThreeHospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run = planned(parties, 4, min_sites=2)
    profile = parties.profile("mercy")
    profile.rename(profile.with_suffix(".away"))
    canary = tmp_path / "imported"
    touch = f"open({str(canary)!r}, 'a').write(__name__)\n".encode()
    hostile = BUNDLE["pyproject.toml"].replace(b'dependencies = ["flwr"]', b'dependencies = ["flwr", "canary-7f3a"]')
    code = dict.fromkeys(("sites/__init__.py", "sites/app.py", "server/app.py", "fedcxr/__init__.py"), touch)
    bundle = {"pyproject.toml": hostile, **code}
    monkeypatch.setattr("server.control.BUNDLE", bundle)
    (parties.server / SUBMITTED / f"{run.scenario.run_name}.yaml").write_text(run.scenario.to_yaml())
    try:
        with parties.control() as control:
            control.start(run.scenario.run_name)
        done = parties.fedcxr("submit", str(file), "--kit", str(parties.server))  # finds the run at work
    finally:
        profile.with_suffix(".away").rename(profile)
    assert done.returncode == 0, done.stderr
    found = statuses(run)
    assert [found[site] for site in ("charite", "ukb")] == [("ok", None)] * 2
    assert found["mercy"][0] == "dropped"
    assert str(profile) not in str(found["mercy"][1])
    assert str(profile) in (parties.site("mercy") / "run" / "flwr-clientapp.log").read_text()
    assert not canary.exists()
    for site in SITES:
        assert hash_of(bundle) in (parties.site(site) / "run" / "flwr-clientapp.log").read_text()
    unpacked = [
        path
        for path in parties.folder.rglob("*")
        if path.is_file() and (path.name == "app.py" or b"canary-7f3a" in path.read_bytes())
    ]
    assert unpacked == []


def hash_of(bundle: Mapping[str, bytes]) -> str:
    import hashlib

    from flwr.cli.build import build_fab_from_files

    return hashlib.sha256(build_fab_from_files(bundle)[0]).hexdigest()


METHODS: dict[str, dict[str, Any]] = {
    "sca": {"name": "sca"},
    "fedavg": {"name": "fedavg", "rounds": 1, "steps": 2, "batch": 8, "width": 4},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_runs_for_the_search_that_follows(parties: ThreeHospitals, method: str) -> None:
    file, run = planned(parties, 5, METHODS[method])
    done = parties.fedcxr("submit", str(file), "--kit", str(parties.server))
    assert done.returncode == 0, done.stderr
    assert {status for status, _ in statuses(run).values()} == {"ok"}


def test_nothing_at_the_coordinators_shows_a_film_a_name_or_a_key(
    parties: ThreeHospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in parties.secrets.items():
        monkeypatch.setenv(name, value)
    rows, names, keys = set(), set(), set()
    for site in SITES:
        profile = Profile.read(parties.profile(site))
        films = profile.films(parties.folder / "cache")
        names |= {str(name).encode() for column in ("patient", "image") for name in films.index[column]}
        for row in films.films()[:, films.size[0] // 2]:
            rows |= {row.tobytes(), *((row / scale).astype("float32").tobytes() for scale in (1, 255))}
        with Vault.unlock(profile.vault_folder, WORDS) as vault:
            keys |= {*secrets(vault)}
    assert min(len(rows) // 100, len(names) // 50, len(keys) // len(SITES)) > 0
    assert leaks(keys, parties.server) == []
    places = {str(path): path.read_bytes() for path in parties.server.rglob("*") if path.is_file()}
    for file in (parties.server / "runs").glob("*/*/scenario.yaml"):
        for release in Run.open(file.parent).releases(SITES):
            places |= {f"{file.parent.name} {key}": value.tobytes() for key, value in release.arrays.items()}
    assert [(place, what) for place, said in places.items() for what in rows | names if what in said] == []
    few = {*keys, *(key.hex().encode() for key in keys), *sorted(rows)[::50], *sorted(names)[::20]}
    held = memory(_below(parties, "server", "--superexec-auth-secret-file"))
    assert [what for part in held for what in few if what in part] == []


def secrets(vault: Vault) -> Iterator[bytes]:
    """Its master keys, and the seeds of its identity."""
    yield vault.ring.identity._key
    yield from (epoch.key._key for epoch in vault.ring.epochs)


def memory(processes: list[psutil.Process]) -> Iterator[bytes]:
    """What they hold."""
    for process in processes:
        with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as held:
            for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
                if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line):
                    start, end = (int(bound, 16) for bound in bounds.groups())
                    held.seek(start)
                    try:
                        yield held.read(end - start)
                    except OSError:
                        continue


def test_who_is_ended_politely_leaves_nothing_behind(parties: ThreeHospitals) -> None:
    for who in (*SITES, "server"):
        child = parties.running[who]
        child.send_signal(signal.SIGTERM)
        child.wait(15)
    named = str(parties.folder)
    assert [line for line in told_by_ps() if named in line] == []


def told_by_ps() -> list[str]:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
