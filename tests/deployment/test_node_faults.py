"""What becomes of a run at three hospitals whose machines are killed, stopped and lied to: one consortium for all."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from relay import Relay, relayed
from small_disk import fill, on_small_disk
from three_hospitals import ONLINE_S, SITES, ThreeHospitals, provisioned

from fedcxr.deployment.kit import KIT, SUMS, read_site, sums
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server.control import BUNDLE
from server.submission import SUBMITTED
from sites.codes import Code

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="there is no nginx"),
]

LIMIT_S = 60.0  # of a run here
HALF_S = 40.0  # of one that waits for it
HEARTBEAT_S = 60.0  # after which Flower takes a process for dead that says nothing more
SLACK_S = 90.0  # for processes to start and to end on a busy machine
NOTICED_S = 0.5  # within which a request is noticed here; a greeting takes longer
SLOW = 16384.0  # bytes a second
CUT_S = 5.0
CALL_S = 30.0  # after which Flower gives a call up, and makes a new connection
AWAY = "the site(?: went away|'s answer did not arrive in time,) while releasing its films"
NOISE = {"name": "noise", "scale": 0.4}


@pytest.fixture(scope="module")
def link() -> Iterator[Relay]:
    """What lies between the last hospital and the gate, once it leads there."""
    with relayed() as relay:
        yield relay


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory, link: Relay) -> Iterator[ThreeHospitals]:
    parties = provisioned(tmp_path_factory.mktemp("f"))
    link.to = lead_through(parties.site(SITES[-1]), link.port)
    try:
        parties.start("server")
        until(lambda: listens(link.to), ONLINE_S, "the gate is open")
        for site in SITES:
            parties.start(site)
        parties.wait_online()
        yield parties
    finally:
        parties.end()


def lead_through(kit: Path, port: int) -> int:
    """Have a hospital's kit name this port for the gate's, which is returned."""
    told = read_site(kit)
    (kit / KIT).write_text(told.model_copy(update={"port": port}).text)
    listed = [line.partition("  ")[2] for line in (kit / SUMS).read_text().splitlines()]
    (kit / SUMS).write_text(sums(kit, listed))
    return told.port


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def planned(parties: ThreeHospitals, seed: int, limit: float = LIMIT_S, **more: Any) -> tuple[Path, Run]:
    """A scenario's file, and the run folder it will have."""
    compute = {"device": "cpu", "precision": "fp32", "timeout_s": limit}
    of = {"sites": dict.fromkeys(SITES, "own"), "seed": seed, "method": NOISE, "tasks": {}, "compute": compute, **more}
    file = parties.folder / f"noise-{seed}.yaml"
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
    return parties.below(site, "sites.launcher")


def asked_to_release(parties: ThreeHospitals, site: str) -> list[psutil.Process]:
    """The processes that work on its release, and not on the greeting before, which may still be about to end."""
    for one in SITES:
        if one not in heard_at and requests(parties, one) > heard_before.get(one, 0):
            heard_at[one] = time.time()
    if site not in heard_at:
        return []
    with contextlib.suppress(psutil.NoSuchProcess):
        return [one for one in answering(parties, site) if one.create_time() > heard_at[site] - NOTICED_S]
    return []


def requests(parties: ThreeHospitals, site: str) -> int:
    """How often its node has told of a release that it was asked for, or has made."""
    log = parties.site(site) / "run" / "supernode.log"
    return log.read_text().count("query.release message") if log.is_file() else 0


heard_before: dict[str, int] = {}
heard_at: dict[str, float] = {}


def listen(parties: ThreeHospitals) -> None:
    """From now on `asked_to_release` is about requests that come."""
    heard_at.clear()
    heard_before.update({site: requests(parties, site) for site in SITES})


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


def undisturbed(parties: ThreeHospitals, run: Run, out: Path) -> list[str]:
    """Digests of the releases that the same vaults give when nothing is in the way."""
    return [release.digest() for release in parties.in_one_process(run.scenario, out).releases(SITES)]


def test_the_others_go_on_without_a_site_that_dies_before_it_is_asked_or_while_it_releases_and_keep_what_has_come(
    parties: ThreeHospitals,
) -> None:
    """The first site dies once its release is on file, the second before it is asked, the third while it releases."""
    file, run = planned(parties, 9, HALF_S, min_sites=1)
    listen(parties)
    parties.kill("mercy", signal.SIGKILL)
    waiting, began = parties.submitting(file), time.monotonic()
    at_work = until(lambda: asked_to_release(parties, "ukb"), HALF_S + SLACK_S, "ukb is asked")
    at_work[-1].suspend()
    until(lambda: run.release_note("charite"), HALF_S, "charite has released")
    node = psutil.Process(parties.running["ukb"].pid).children()
    parties.kill("charite", signal.SIGKILL)
    ukb = parties.running.pop("ukb")
    ukb.kill()
    time.sleep(1)  # for its parts to hear of it
    at_work[-1].resume()  # nobody is at the end of the line that it comes back to
    ukb.wait(SLACK_S)
    _, alive = psutil.wait_procs([*node, *at_work], 15)
    assert not alive
    parties.start("ukb")
    assert parties.running["ukb"].wait(SLACK_S) == 75  # what systemd starts again
    assert "has this node as connected still" in parties.log("ukb")
    said, _ = waiting.communicate(timeout=HALF_S + SLACK_S)
    assert waiting.returncode == 0, said
    assert time.monotonic() - began < HALF_S + SLACK_S
    found = statuses(run)
    assert found["charite"] == ("ok", None)
    assert {found["mercy"][0], found["ukb"][0]} == {"dropped"}
    assert str(found["mercy"][1]).startswith(f"not connected within {HALF_S / 2:g} s")
    # Which of the limits is over first, ours or Flower's for node or message, is a matter of milliseconds.
    assert re.match(f"no answer within|{AWAY}", str(found["ukb"][1]))
    for site in ("charite", "mercy"):
        parties.start(site)
    parties.keep_up(HEARTBEAT_S + SLACK_S)
    assert [len(entries(parties, site, run)) for site in ("charite", "mercy")] == [1, 0]
    assert len(entries(parties, "ukb", run)) <= 1


def test_waiting_may_end_and_the_server_may_die_and_submitting_again_goes_on(
    parties: ThreeHospitals, tmp_path: Path
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
    assert digests == undisturbed(parties, run, tmp_path)
    for site in SITES:
        signed = entries(parties, site, run)
        assert {one["most"] for one in signed} == {signed[0]["most"]}, "the same job is charged once"
        assert len({one["digest"] for one in signed}) == 1


def asked_since(parties: ThreeHospitals) -> dict[str, int]:
    """How many releases each site was asked for since `listen`; its node tells of each twice."""
    return {site: (requests(parties, site) - heard_before[site]) // 2 for site in SITES}


def test_a_server_app_that_dies_ends_the_wait(parties: ThreeHospitals) -> None:
    file, _ = planned(parties, 3)
    earlier = parties.below("server", "server.launcher")
    waiting = parties.submitting(file)
    (ours,) = until(lambda: [one for one in parties.below("server", "server.launcher") if one not in earlier])
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
    file, run = planned(parties, 4, HALF_S, min_sites=2)
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


def test_a_slow_link_and_a_short_cut_change_nothing_but_the_time(
    parties: ThreeHospitals, link: Relay, tmp_path: Path
) -> None:
    file, run = planned(parties, 5)
    listen(parties)
    link.rate, before = SLOW, link.passed
    waiting, began = parties.submitting(file), time.monotonic()
    try:
        until(lambda: asked_to_release(parties, "ukb"), LIMIT_S, "ukb is asked")
        link.cut()
        time.sleep(CUT_S)
        link.mend()
        said, _ = waiting.communicate(timeout=LIMIT_S + SLACK_S)
    finally:
        link.rate = None
        link.mend()
    assert waiting.returncode == 0, said
    assert time.monotonic() - began > CUT_S + (link.passed - before) / SLOW / 2
    assert {status for status, _ in statuses(run).values()} == {"ok"}
    assert len(entries(parties, "ukb", run)) == 1
    assert [one.digest() for one in run.releases(SITES)] == undisturbed(parties, run, tmp_path)


def test_a_link_that_is_cut_for_longer_is_told_by_name_and_the_site_alone_is_asked_again(
    parties: ThreeHospitals, link: Relay, tmp_path: Path
) -> None:
    file, run = planned(parties, 6, HALF_S)
    listen(parties)
    waiting, began = parties.submitting(file), time.monotonic()
    try:
        until(lambda: asked_to_release(parties, "ukb"), HALF_S, "ukb is asked")
        link.cut()
        given_up = time.monotonic() + CALL_S
        said, _ = waiting.communicate(timeout=HALF_S + SLACK_S)
        assert time.monotonic() - began < HALF_S + SLACK_S
        time.sleep(max(0.0, given_up + CUT_S - time.monotonic()))
    finally:
        link.mend()
    assert waiting.returncode == 4, said
    assert re.search(rf"ukb: (no answer within|{AWAY})", said)
    assert run.result is None
    assert parties.connected("ukb"), parties.log("ukb")
    listen(parties)
    again = parties.fedcxr("submit", str(file), "--kit", str(parties.server))
    assert again.returncode == 0, again.stderr
    assert asked_since(parties) == {"charite": 0, "mercy": 0, "ukb": 1}
    assert [one.digest() for one in run.releases(SITES)] == undisturbed(parties, run, tmp_path)
    signed = entries(parties, "ukb", run)
    assert {(one["most"], one["digest"]) for one in signed} == {(signed[0]["most"], signed[0]["digest"])}


def test_a_full_disk_is_its_owners_and_what_is_missing_comes_once_there_is_room(
    parties: ThreeHospitals, tmp_path: Path
) -> None:
    """First at a hospital, which signs that and nothing else; then at the coordinator's, for whom the run ends."""
    file, run = planned(parties, 7)
    vault = parties.site("mercy") / "vault"
    with on_small_disk(vault, 1 << 20):
        filler = vault / "filler"
        fill(filler)
        full_there = parties.fedcxr("submit", str(file), "--kit", str(parties.server))
        assert full_there.returncode == 4, full_there.stderr
        assert f"mercy: {Code.DISK}" in full_there.stderr
        assert str(vault) not in full_there.stderr
        own_log = (parties.site("mercy") / "run" / "flwr-clientapp.log").read_text()
        assert f"the disk is full; given: {vault}" in own_log
        shown = parties.fedcxr("site", "ledger", "show", str(parties.profile("mercy"))).stdout
        assert f"the disk is full; given: {vault}; free some space" in " ".join(shown.split())
        filler.unlink()
        assert entries(parties, "mercy", run) == []
        arrived = {site: run.release_note(site) for site in SITES}
        assert [site for site, note in arrived.items() if note is None] == ["mercy"]
        with on_small_disk(run.folder, used(run.folder) + (8 << 10)) as grow:
            full_here = parties.fedcxr("submit", str(file), "--kit", str(parties.server))
            assert full_here.returncode == 3, full_here.stderr
            assert "the disk is full" in full_here.stderr
            assert run.result is None
            grow()
            done = parties.fedcxr("submit", str(file), "--kit", str(parties.server))
        assert done.returncode == 0, done.stderr
        assert [one.digest() for one in run.releases(SITES)] == undisturbed(parties, run, tmp_path)
        signed = entries(parties, "mercy", run)
    assert {(one["most"], one["digest"]) for one in signed} == {(signed[0]["most"], signed[0]["digest"])}


def used(folder: Path) -> int:
    """Bytes that its files take on a disk of pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def test_who_is_ended_politely_leaves_nothing_behind(parties: ThreeHospitals) -> None:
    for who in (*SITES, "server"):
        child = parties.running[who]
        child.send_signal(signal.SIGTERM)
        child.wait(15)
    named = str(parties.folder)
    assert [line for line in told_by_ps() if named in line] == []


def told_by_ps() -> list[str]:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
