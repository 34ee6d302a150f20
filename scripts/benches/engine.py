"""What the engines cost: a plain PyTorch loop, the inline engine and Ray do the same work in turn.

    scripts/bench engine                         # quick preset, three turns
    scripts/bench engine --preset default --turns 1

`plain` is one process without Flower, run folders, fences or our training loop: the same networks, losses and
batches under the shortest loop PyTorch allows. Ratios compare arms within a turn, so that a machine that speeds
up or slows down meanwhile does not matter; the median of the turns is printed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

ARMS = ("plain", "inline", "ray")
ROUNDS = 20


def main() -> None:
    """Run the arms in turn, each in a process of its own."""
    options = _options()
    if options.child:
        print(json.dumps(CHILDREN[options.child](options)))
        return
    _child("plain", options)  # renders the cohort and warms the disk's cache
    turns = [{arm: _child(arm, options) for arm in ARMS} for _ in range(options.turns)]
    print(f"{options.preset} preset, {options.turns} turns, {os.cpu_count()} cores; wall and CPU in seconds\n")
    print(f"{'':10}{'wall':>8}{'CPU':>8}{'MiB':>8}{'wall/plain':>12}{'CPU/plain':>12}")
    for arm in ARMS:
        wall, cpu, memory = (median(turn[arm][what] for turn in turns) for what in ("wall", "cpu", "memory"))
        to_wall, to_cpu = (median(turn[arm][what] / turn["plain"][what] for turn in turns) for what in ("wall", "cpu"))
        # Ray's services are nobody's children when they end, so their CPU time is not known.
        work = ("-", "-") if arm == "ray" else (f"{cpu:.1f}", f"{to_cpu:.2f}")
        print(f"{arm:10}{wall:8.1f}{work[0]:>8}{memory:8.0f}{to_wall:12.2f}{work[1]:>12}")
    figures = {json.dumps(turn[arm]["figures"]) for turn in turns for arm in ARMS}
    print(f"\nfigures of all arms and turns: {'the same' if len(figures) == 1 else f'DIFFERENT: {figures}'}")
    for engine in ("inline", "ray"):
        told = _child(f"rounds-{engine}", options)
        print(
            f"{engine}: first round after {told['start_s']:.1f} s, then {told['round_ms']:.0f} ms per round of 5 sites"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick", choices=("quick", "default"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", choices=(*ARMS, "rounds-inline", "rounds-ray"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _child(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one arm in a fresh process; its time includes the imports."""
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, __file__, "--child", name, "--preset", options.preset]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": time.perf_counter() - start, "cpu": cpu, **json.loads(done.stdout.splitlines()[-1])}


def _scenario(options: argparse.Namespace) -> Any:
    from fedcxr.scenario import Scenario

    return Scenario.parse({"preset": options.preset, "method": "noise", "compute": {"device": "cpu"}})


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    """The whole experiment by hand."""
    from fedcxr import training
    from fedcxr.data import cache_folder
    from fedcxr.protocol import attack_seed, site_step, task_seed
    from fedcxr.questions import Heard
    from fedcxr.simulation.experiment import Experiment
    from fedcxr.simulation.keys import simulated
    from fedcxr.simulation.threat import Threat
    from fedcxr.tasks import Bench
    from fedcxr.training.compute import Compute
    from fedcxr.view import Shared
    from server.meter import Meter

    training.fit = _shortest_loop
    with Meter() as meter:
        scenario = _scenario(options)
        experiment = Experiment.open(scenario, cache_folder(), workers=2)
        compute = Compute.choose("cpu")
        shared = Shared(
            [site_step(scenario, s, experiment.site(s), simulated(scenario, s)) for s in scenario.site_names]
        )
        put = Threat(experiment).put(shared)["linkage"]
        heard = {}
        with compute.session():
            bench = Bench(task_seed(scenario, "findings"), compute)
            findings = scenario.tasks["findings"].measure(experiment.evidence(shared), bench)
            verifier, seed = scenario.adversaries["verifier"], attack_seed(scenario, "verifier")
            clean = verifier.prepare(put["protected"].leak.own, seed, compute, _silent)
            for world, one in put.items():
                attacker = verifier.on_smoke_budget() if one.setting.smoke else verifier
                # In a world of its own, what a brief attack learns from is its own too.
                prepared = attacker.prepare(one.leak.own, seed, compute, _silent) if one.setting.smoke else clean
                answers = attacker.answer("linkage", one.leak, prepared, seed, compute, _silent)
                heard[world] = Heard(one.asked.key, answers, 0.0)
        attacks = scenario.questions["linkage"].score(heard, scenario.seed)
        return {"memory": meter.peak_mb(), "figures": _figures(findings, attacks)}


def _shortest_loop(network: Any, loss: Callable[[int], Any], plan: Any, compute: Any, progress: object = None) -> None:
    import torch

    network.train()
    shrunk = [p for p in network.parameters() if p.ndim > 1]
    kept = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": shrunk, "weight_decay": plan.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True)
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step)
        with compute.autocast():
            value = loss(step)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    network.eval()


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _engine(options: argparse.Namespace) -> dict[str, Any]:
    from server.simulate import Options, simulate

    # What other arms and turns have trained is not there for this one.
    with tempfile.TemporaryDirectory() as out, mock.patch("server.measure.cache_folder", return_value=Path(out)):
        result = simulate(_scenario(options), Options(Path(out), options.child)).result
    assert result is not None
    figures = _figures(result["utility"]["findings"], result["privacy"]["attacks"])
    return {"memory": result["cost"]["peak_rss_mb"], "figures": figures}


def _figures(findings: Any, attacks: Any) -> list[float]:
    """What all arms must agree on."""
    means = [level["mean_auc"]["value"] for level in findings.values() if level is not None]
    return [*means, *(a[key] for a in attacks for key in ("same_site_auc", "control_raw_auc", "control_shuffled_auc"))]


def _rounds(options: argparse.Namespace) -> dict[str, Any]:
    """Ask five trivial sites again and again."""
    started = time.perf_counter()
    from server.simulate import QUIET, backend, client_app

    os.environ.update(QUIET)
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp

    from fedcxr.data import cache_folder
    from fedcxr.runs import Run
    from fedcxr.scenario import Scenario
    from fedcxr.simulation.experiment import Experiment
    from server.collect import collect
    from server.inline import run_inline
    from server.register import Register

    document = {"cohort": {"source": "phantom", "patients": 20, "size": 16}, "tasks": {}, "adversaries": {}}
    scenario = Scenario.parse(document)
    Experiment.open(scenario, cache_folder())
    ends = []
    with tempfile.TemporaryDirectory() as out:
        app = ServerApp()

        @app.main()
        def main(grid: Grid, context: Context) -> None:
            for number in range(ROUNDS + 1):
                run = Run.place(Path(out) / str(number), scenario)
                with run.begun(resume=False):
                    collect(grid, run, Register.of_simulation(scenario))
                ends.append(time.perf_counter())

        if options.child == "rounds-inline":
            run_inline(app, client_app(), len(scenario.site_names), 2)
        else:
            from flwr.simulation import run_simulation

            with tempfile.TemporaryDirectory(prefix="fedcxr-") as scratch:
                plan = backend(scenario, Path(scratch), "", 0)
                run_simulation(app, client_app(), len(scenario.site_names), backend_config=plan)
    gaps = [later - earlier for earlier, later in itertools.pairwise(ends)]
    return {"start_s": ends[0] - started, "round_ms": 1000 * median(gaps)}


CHILDREN: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "plain": _plain, "inline": _engine, "ray": _engine, "rounds-inline": _rounds, "rounds-ray": _rounds
}  # fmt: skip

if __name__ == "__main__":
    main()
