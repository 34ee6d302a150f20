"""Runs a scenario on simulated hospitals, and restarts an engine that broke; `cluster` beside it keeps Ray closed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedcxr.data import cache_folder
from fedcxr.errors import ConfigError, EngineBroken, TooFewSites
from fedcxr.runs import Run
from fedcxr.runs.machine import gpus
from fedcxr.runs.stages import COLLECT
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.premises import Simulation
from fedcxr.storage.events import Events
from fedcxr.storage.private import nothing_for_others
from fedcxr.storage.workshops import Workshops
from server import failure
from server.attack import end_group
from server.cluster import (
    Cluster,
    check_loopback,
    check_own_process,
    import_nothing_from_here,
    init_args,
    joined,
    start_ray,
)
from server.register import Register

if TYPE_CHECKING:
    from flwr.serverapp import Grid

Engine = Literal["ray", "inline"]
STARTS = 2  # a broken engine is started once more: what is on file is not asked for again
START_UP = 120.0  # seconds granted to an engine before and after the sites' own time, more than an exchange grants it
LOOK_EVERY = 0.1  # seconds
GPU_DRIVERS = ("/proc/driver/nvidia", "/dev/dxg", "/dev/kfd")  # known at once, where importing torch takes seconds

# Flower and Ray must neither call home nor look for updates, and both must be quiet; set before either is imported.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Options:
    """How to run, which never changes what comes out."""

    out: Path
    engine: Engine = "ray"
    resume: bool = False
    ray_address: str | None = None


def simulate(scenario: Scenario, options: Options) -> Run:
    """One scenario end to end; the returned run holds its result."""
    _demand(*(("flwr", "ray") if options.engine == "ray" else ("flwr",)))
    if scenario.compute.device == "cuda" and not any(Path(driver).exists() for driver in GPU_DRIVERS):
        raise ConfigError("no CUDA device on this machine", given="cuda", allowed="auto, cpu")
    for plugin in scenario.contributions:
        plugin.required_files()
    access = joined(scenario, options.ray_address) if options.ray_address else {}
    if options.engine == "ray":
        check_loopback()
    run = Run.place(options.out, scenario)
    with run.begun(resume=options.resume):
        if run.result is None:
            _experiment(run, options.engine, partial(_collect, run, options, access))
    return run


def _demand(*frameworks: str) -> None:
    """The library works without them, and may have been installed without them."""
    missing = [name for name in frameworks if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "simulate needs Flower and Ray",
            given=f"no {' and no '.join(missing)} installed",
            do='pip install "fedcxr[simulation]"',
        )


def simulate_on(grid: Grid, scenario: Scenario, out: Path) -> None:
    """The same on a grid that somebody else provides; an earlier attempt in the folder is resumed."""
    from server.collect import collect  # it imports flwr, which a command on Ray leaves to its child

    check_own_process(scenario)
    run = Run.place(out, scenario)
    with run.begun(resume=True):
        if run.result is None:
            register = Register.of_simulation(scenario)
            _experiment(run, "flwr", partial(run.stage, COLLECT, partial(collect, grid, run, register)))


def _experiment(run: Run, engine: str, release: Callable[[], object]) -> None:
    """Open the cohort, let the sites release, measure."""
    from server.measure import conduct  # for its imports: a refused command need not wait for them
    from server.meter import Meter

    with Meter() as meter:
        everyone = len(os.sched_getaffinity(0))
        experiment = Experiment.open(run.scenario, cache_folder(), everyone, run.progress)
        conduct(run, experiment, release, engine, meter)
    Workshops.below(cache_folder()).clear(run.scenario.run_name)  # of sites that were ended while they learnt


def workers(scenario: Scenario) -> int:
    """How many sites are at work at once."""
    return min(scenario.compute.workers or len(os.sched_getaffinity(0)), len(scenario.site_names))


def _collect(run: Run, options: Options, access: Mapping[str, str]) -> None:
    """Let the sites release, on one engine or the other; both leave the same stage `collect` behind."""
    if options.engine == "inline":
        os.environ.update(_around(run))
        from server.collect import server_app
        from server.inline import run_inline

        run_inline(server_app(run), client_app(), len(run.scenario.site_names), workers(run.scenario))
        return
    for attempt in range(1, STARTS + 1):
        try:
            run.event("stage", name="joining Ray" if options.ray_address else "starting Ray", over=False)
            with Cluster.of(options.ray_address, access) as cluster:
                _collect_on_ray(run, cluster)
            return
        except EngineBroken as error:
            run.event("engine", attempt=attempt, reason=str(error))
            if attempt == STARTS:
                raise TooFewSites(f"the engine broke {STARTS} times", given=str(error)) from None


def _around(run: Run) -> dict[str, str]:
    """The environment of an engine: quiet, and with the file to which its sites tell how far they are."""
    return QUIET | {Events.VARIABLE: str((run.folder / "events.jsonl").absolute())}


def client_app() -> Any:
    """The sites' app on simulated premises, by name: the server does not import what runs inside hospitals."""
    return importlib.import_module("sites.app").client_app(Simulation)


def _collect_on_ray(run: Run, cluster: Cluster) -> None:
    """Flower's simulation in a child process that leads a group: however it ends, nothing of it stays behind."""
    failure.forget(run.folder)
    with (run.folder / "engine.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "server.simulate", str(run.folder), str(cluster.scratch), cluster.address],
            stdin=subprocess.PIPE,  # nothing is ever written: the child sees its end when we are gone
            stdout=log,
            stderr=log,
            env=cluster.around(os.environ)
            | _around(run)
            | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )
    try:
        _wait(child, run)
    finally:
        end_group(child, (signal.SIGKILL,))  # Ray takes seconds to say goodbye, and what it did is stored
        if child.stdin is not None:
            child.stdin.close()
    failed = failure.noted(run.folder)
    if failed is not None:
        raise failed
    if not run.has_stage(COLLECT):
        raise EngineBroken("the engine ended without a word", given=f"exit code {child.returncode}", do=_last_line(run))


def _wait(child: subprocess.Popen[bytes], run: Run) -> None:
    """Until the releases are stored, or the engine has ended or given up: its ServerApp may wait on for nodes."""
    limit = run.scenario.compute.timeout_s
    deadline = time.monotonic() + limit + START_UP
    while child.poll() is None and not run.has_stage(COLLECT) and failure.noted(run.folder) is None:
        if time.monotonic() > deadline:
            raise EngineBroken("the engine did not end in time", given=f"{limit:g} s")
        time.sleep(LOOK_EVERY)


def _last_line(run: Run) -> str:
    lines = (run.folder / "engine.log").read_text(errors="replace").split("\n")
    return (
        f"{run.folder / 'engine.log'} ends with: {next((line for line in reversed(lines) if line.strip()), '')[:200]}"
    )


def engine_process(folder: Path, scratch: Path, address: str) -> int:
    """The child: Ray, its actors and the ServerApp's thread."""
    nothing_for_others()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from flwr.simulation import run_simulation

    from server.collect import server_app

    import_nothing_from_here()
    run = Run.open(folder)
    plan = backend(run.scenario, scratch, address, len(gpus()))
    try:
        if not address:
            start_ray(plan["init_args"])
        run_simulation(server_app(run), client_app(), num_supernodes=len(run.scenario.site_names), backend_config=plan)
    except Exception as error:  # Flower wraps whatever happens in its engine in a RuntimeError
        failure.note(run.folder, error)
        return 1
    return 0


def _end_with_parent() -> None:
    """End the whole group when the command is gone, however it went: some of Ray's helpers do not notice."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def backend(scenario: Scenario, scratch: Path, address: str, gpus: int) -> dict[str, Any]:
    """Flower's backend configuration: as many actors as workers, GPUs shared out but for the server's part."""
    at_once = workers(scenario)
    each = gpus * (1.0 - scenario.compute.gpu_server_share) / at_once if scenario.compute.device != "cpu" else 0.0
    ours = {} if address else {"num_cpus": at_once}
    return {
        "init_args": init_args(scratch, address) | ours,
        "client_resources": {"num_cpus": 1, "num_gpus": round(each, 4)},
    }


if __name__ == "__main__":
    sys.exit(engine_process(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
