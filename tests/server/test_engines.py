"""The same apps on both engines: equal results, named failures, and an end to every wait."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from fedcxr.errors import EngineBroken, TooFewSites
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from server import failure
from server.attack import end_group
from server.simulate import QUIET, Options, _wait, backend, simulate

ROOT = Path(__file__).resolve().parents[2]

PATIENCE_S = 300.0  # of every wait here: what ends a test that hangs, and no measure of speed


def scenario(**changes: Any) -> Scenario:
    """Five small hospitals that release and are not measured: engines only."""
    document = {
        "cohort": {"source": "phantom", "patients": 40, "size": 32},
        "method": {"name": "noise", "scale": 0.3},
        "tasks": {},
        "adversaries": {},
        "compute": {"device": "cpu", "precision": "fp32", "timeout_s": PATIENCE_S},
    }
    return Scenario.parse({**document, **changes})


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Ray's sockets lie deep in its folder, and the path of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def fault(how: str, **more: Any) -> dict[str, Any]:
    return {"name": "faults:Fault", "how": how, **more}


def entries(run: Run) -> dict[str, dict[str, Any]]:
    assert run.result is not None
    return {entry["name"]: entry for entry in run.result["sites"]}


def digests(run: Run) -> list[str]:
    return [release.digest() for release in run.releases(run.scenario.site_names)]


def events(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_releases_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    alone = simulate(scenario(compute={"workers": 1}), Options(tmp_path / "1", "inline"))
    many = simulate(scenario(compute={"workers": workers}), Options(tmp_path / "n", "inline"))
    assert digests(alone) == digests(many)
    assert alone.folder.name == many.folder.name  # the number of workers is not part of what a scenario is


@pytest.mark.slow
def test_ray_releases_what_the_inline_engine_releases_and_imports_nothing_from_the_folder_one_is_in(
    tmp_path: Path, traps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others may write, for instance: neither the engine does nor an actor, whose place Ray would put first."""
    inline = simulate(scenario(), Options(tmp_path / "inline", "inline"))
    monkeypatch.chdir(traps)
    on_ray = simulate(scenario(), Options(tmp_path / "ray", "ray"))
    assert not (traps / "sprung").exists()
    assert digests(inline) == digests(on_ray)
    assert on_ray.result is not None
    assert on_ray.result["run"]["engine"] == "ray"


def test_a_failing_site_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    run = simulate(scenario(method=fault("raise"), min_sites=4), Options(tmp_path, "inline"))
    sites = entries(run)
    assert sites["site-2"]["status"] == "dropped"
    for part in ("ValueError", "the film is upside down", "faults.py:", "round 1"):
        assert part in sites["site-2"]["reason"]
    assert [name[-1] for name, entry in sites.items() if entry["status"] == "ok"] == ["1", "3", "4", "5"]
    assert any(e["event"] == "site" and e["site"] == "site-2" and e["status"] == "dropped" for e in events(run))


def test_too_few_sites_end_the_run_and_leave_no_result(tmp_path: Path) -> None:
    with pytest.raises(TooFewSites, match=r"4 of 5; site-2: ValueError: the film is upside down") as failure:
        simulate(scenario(method=fault("raise")), Options(tmp_path, "inline"))
    assert failure.value.exit_code == 4
    assert not list(tmp_path.rglob("result.json"))


def test_a_repaired_site_is_asked_again_on_resume(tmp_path: Path) -> None:
    broken = scenario(method=fault("raise", once=str(tmp_path / "happened")))
    with pytest.raises(TooFewSites):
        simulate(broken, Options(tmp_path / "runs", "inline"))
    run = simulate(broken, Options(tmp_path / "runs", "inline", resume=True))
    asked = [e["site"] for e in events(run) if e["event"] == "site"]
    assert sorted(asked) == sorted(["site-1", "site-2", "site-2", "site-3", "site-4", "site-5"])


@pytest.mark.parametrize("method", ["faults:Impostor", "faults:Poisoned"])
def test_a_site_that_releases_the_wrong_thing_is_dropped(tmp_path: Path, method: str) -> None:
    with pytest.raises(TooFewSites, match="site-2"):
        simulate(scenario(method=method, min_sites=5), Options(tmp_path, "inline"))


def test_a_site_that_hangs_is_dropped_when_the_time_is_over(tmp_path: Path) -> None:
    slow = scenario(method=fault("hang"), min_sites=4, compute={"timeout_s": 3.0, "workers": 5})
    run = simulate(slow, Options(tmp_path, "inline"))
    assert "no answer within 3 s" in entries(run)["site-2"]["reason"]


@pytest.mark.slow
def test_a_dead_actor_is_not_held_against_its_site(tmp_path: Path) -> None:
    deadly = scenario(method=fault("die", once=str(tmp_path / "happened")))
    run = simulate(deadly, Options(tmp_path / "runs", "ray"))
    assert all(entry["status"] == "ok" for entry in entries(run).values())
    assert [e["attempt"] for e in events(run) if e["event"] == "engine"] == [1]


@pytest.mark.slow
def test_an_engine_that_dies_twice_is_given_up(tmp_path: Path) -> None:
    # Flower may hand another site's message to the dead actor before we hear of its death.
    with pytest.raises(TooFewSites, match=r"broke 2 times.*died while a site was at work; given: site-"):
        simulate(scenario(method=fault("die")), Options(tmp_path, "ray"))


def test_an_engine_that_gave_up_is_not_waited_for(tmp_path: Path) -> None:
    """Ray may die before a hospital is greeted: the child says so, and its ServerApp's thread waits on for nodes."""
    run = Run.place(tmp_path, scenario())
    run.folder.mkdir(parents=True)
    failure.note(run.folder, EngineBroken("it broke"))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        _wait(child, run)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow
def test_nothing_outlives_a_killed_command(tmp_path: Path) -> None:
    """kill -9 on the command while Ray is at work ends Ray too, and the next command with --resume finishes."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(scenario(method=fault("hang", once=str(tmp_path / "happened"))).to_yaml())
    command = [sys.executable, "-m", "fedcxr.cli", "simulate", str(plan), "--out", str(tmp_path / "runs")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FEDCXR_MARK": str(tmp_path)}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **quiet) as victim:
        try:
            _until((tmp_path / "happened").exists)
        finally:
            victim.kill()
    _until(lambda: not _marked(tmp_path))
    again = [*command, "--resume", "--format", "json"]
    done = subprocess.run(again, env=environment, capture_output=True, timeout=PATIENCE_S, check=True)
    assert json.loads(done.stdout)["run"]["complete"] is True


@pytest.mark.slow
def test_a_cluster_that_runs_is_used_and_left_as_it_was(tmp_path: Path, short_path: Path) -> None:
    port = free_port()
    head = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"),
            *(f"--port={port}", "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={short_path}"),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(lambda: _listens(port))
        run = simulate(scenario(), Options(tmp_path, "ray", ray_address=f"127.0.0.1:{port}"))
        assert all(entry["status"] == "ok" for entry in entries(run).values())
        assert head.poll() is None
    finally:
        end_group(head)


@pytest.mark.slow
def test_flwr_run_does_the_same_on_flowers_own_runtime(tmp_path: Path, short_path: Path) -> None:
    """A SuperLink of our own that installs nothing; `flwr run` submits the checkout to it."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(scenario().to_yaml())
    port, bin_folder = free_port(), Path(sys.executable).parent
    (tmp_path / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    environment = os.environ | QUIET | {"FLWR_HOME": str(tmp_path), "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore", "RAY_TMPDIR": str(short_path)}
    environment |= {"FEDCXR_SIMULATION": "1"}  # Flower gives its simulated nodes no configuration of ours
    superlink = subprocess.Popen(
        [
            *(str(bin_folder / "flower-superlink"), "--insecure", "--simulation", "--port", str(port)),
            "--disable-runtime-dependency-installation",
        ],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(lambda: _listens(port))
        config = f'scenario="{plan}" out="{tmp_path / "runs"}" simulation=true'
        command = [str(bin_folder / "flwr"), "run", str(ROOT), "here", "--federation-config", "num-supernodes=5"]
        subprocess.run([*command, "--run-config", config], env=environment, check=True, timeout=PATIENCE_S)
        _until(lambda: list(tmp_path.rglob("result.json")))
    finally:
        end_group(superlink)
    (found,) = tmp_path.rglob("result.json")
    by_flower = Run.open(found.parent)
    assert by_flower.result is not None
    assert by_flower.result["run"]["engine"] == "flwr"
    assert digests(by_flower) == digests(simulate(scenario(), Options(tmp_path / "inline", "inline")))


def test_gpus_are_shared_out_and_the_server_keeps_its_part() -> None:
    plan = scenario(compute={"workers": 3, "gpu_server_share": 0.25, "device": "auto"})
    assert backend(plan, Path("/tmp/x"), "", 2)["client_resources"] == {"num_cpus": 1, "num_gpus": 0.5}
    assert backend(plan, Path("/tmp/x"), "", 0)["client_resources"]["num_gpus"] == 0
    assert backend(plan, Path("/tmp/x"), "10.0.0.1:6379", 0)["init_args"]["address"] == "10.0.0.1:6379"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"not within {PATIENCE_S:.0f} s"
        time.sleep(0.1)


def _marked(mark: Path) -> list[str]:
    """Processes that inherited our mark, which is every process of the command, however deep."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"FEDCXR_MARK={mark}".encode() in (process / "environ").read_bytes():
                found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found
