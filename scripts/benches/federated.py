"""What learning together costs: a plain PyTorch loop, both engines and Flower's own pattern do the same rounds in turn.

    scripts/bench federated                        # a model of 28 MB, three turns
    scripts/bench federated --network narrow       # of 2 MB
    scripts/bench federated --part dp              # what differential privacy costs, network by network
    scripts/bench federated --part long            # 200 rounds: memory; 100 sites: to the end

`plain` is one process without Flower, messages or files: the same network, batches and steps, site after site, and the
mean of what they learnt. `flower` is the pattern of Flower's quickstart on Ray: every message brings the weights, loads
the site's films and builds the network, and FedAvg averages. A round's time is the median of all but the first.
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
from pathlib import Path
from statistics import median
from typing import Any

ARMS = ("plain", "inline", "ray", "flower")
SITES, ROUNDS, STEPS, BATCH = 5, 6, 4, 8
DP_STEPS = 8


def main() -> None:
    """Run what was asked for, each arm in a process of its own."""
    options = _options()
    if options.child:
        print(json.dumps(CHILDREN[options.child](options)))
    else:
        PARTS[options.part](options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="rounds", choices=("rounds", "dp", "long"))
    parser.add_argument("--network", default="densenet121", choices=("narrow", "resnet18", "densenet121"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", choices=(*ARMS, "dp", "memory", "many"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _child(name: str, network: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, "--network", network]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


# Rounds --------------------------------------------------------------------------------------------------------------


def _rounds(options: argparse.Namespace) -> None:
    _child("plain", options.network)  # renders the cohort and warms the disk's cache
    turns = [{arm: _child(arm, options.network) for arm in ARMS} for _ in range(options.turns)]
    size = turns[0]["plain"]["bytes"] / 1e6
    how = f"{SITES} sites x {STEPS} steps, {options.turns} turns, {os.cpu_count()} cores"
    print(f"{options.network}, {size:.1f} MB, {how}\n")
    print(f"{'':8}{'s/round':>9}{'MiB':>7}{'/plain':>8}")
    for arm in ARMS:
        seconds, memory = (median(turn[arm][what] for turn in turns) for what in ("round_s", "memory"))
        ratio = median(turn[arm]["round_s"] / turn["plain"]["round_s"] for turn in turns)
        print(f"{arm:8}{seconds:9.2f}{memory:7.0f}{ratio:8.2f}")
    ahead = median(turn["flower"]["round_s"] / turn["ray"]["round_s"] for turn in turns)
    print(f"\nRay, ours, is {ahead:.2f} times as fast per round as Flower's own pattern on it")


def _scenario(network: str, sites: int = SITES, **method: Any) -> Any:
    from fedcxr.scenario import Scenario

    learning = {"rounds": ROUNDS, "steps": STEPS, "batch": BATCH, "network": network, "shift": 0, **method}
    return Scenario.parse(
        {
            "sites": sites,
            "cohort": {"source": "phantom", "patients": max(100, 12 * sites), "size": 64},
            "method": {"name": "fedavg", **learning},
            "tasks": {},
            "adversaries": {},
            "compute": {"device": "cpu", "precision": "fp32"},
        }
    )


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    import torch

    from fedcxr.data import cache_folder
    from fedcxr.models.backbone import Design
    from fedcxr.models.classifier import classifier
    from fedcxr.rng import stream
    from fedcxr.simulation.experiment import Experiment
    from server.meter import Meter

    scenario = _scenario(options.network)
    with Meter() as meter:
        experiment = Experiment.open(scenario, cache_folder(), workers=2)
        sites = [experiment.site(name).where("train") for name in scenario.site_names]
        torch.set_num_threads(1)
        network = classifier(Design(options.network), len(sites[0].findings), stream(0))
        weights, ends = network.state_dict(), [time.perf_counter()]
        for number in range(ROUNDS):
            learnt = []
            for place, site in enumerate(sites):
                network.load_state_dict(weights)
                _train(network, site.films(), site.labels, stream(number, place))
                learnt.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
            films = np.array([len(site) for site in sites]) / sum(map(len, sites))
            weights = {
                name: sum(share * one[name] for share, one in zip(films, learnt, strict=True)).to(tensor.dtype)
                for name, tensor in weights.items()
            }
            ends.append(time.perf_counter())
        size = sum(tensor.nbytes for tensor in weights.values())
        return {"round_s": _steady(ends), "memory": meter.peak_mb(), "bytes": size}


def _train(network: Any, films: Any, labels: Any, rng: Any) -> None:
    """The shortest loop PyTorch allows; unknown findings have no loss."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    x, y = torch.from_numpy(films[:, None]).float() / 255, torch.tensor(labels)
    known, y = ~y.isnan(), y.nan_to_num()
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, fused=True)
    network.train()
    for _ in range(STEPS):
        rows = torch.from_numpy(rng.permutation(len(x))[:BATCH])
        losses = binary_cross_entropy_with_logits(network(x[rows]), y[rows], reduction="none")
        optimiser.zero_grad()
        (losses * known[rows]).mean().backward()
        optimiser.step()


def _engine(options: argparse.Namespace) -> dict[str, Any]:
    """From when each round was on file."""
    from server.meter import Meter
    from server.simulate import Options, simulate

    with tempfile.TemporaryDirectory() as out, Meter() as meter:
        run = simulate(_scenario(options.network), Options(Path(out), options.child))
        files = sorted((run.folder / "learnt").glob("round-*.release"))
        ends = [file.stat().st_mtime_ns / 1e9 for file in files[1:]]
        return {"round_s": _steady(ends), "memory": meter.peak_mb()}


def _flower(options: argparse.Namespace) -> dict[str, Any]:
    """Flower's quickstart: the message brings the weights, and everything else is made anew for it."""
    from server.cluster import init_args
    from server.simulate import QUIET

    os.environ.update(QUIET)
    from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation

    from server.meter import Meter

    name = options.network
    client, server = ClientApp(), ServerApp()
    ends: list[float] = []

    @client.train()
    def train(message: Message, context: Context) -> Message:
        import torch

        torch.set_num_threads(1)
        network, films, labels = _quickstart_site(name, int(context.node_config["partition-id"]))
        arrays: Any = message.content["arrays"]
        network.load_state_dict(arrays.to_torch_state_dict())
        from fedcxr.rng import stream

        _train(network, films, labels, stream(0))
        told = MetricRecord({"num-examples": len(films)})
        return Message(RecordDict({"arrays": ArrayRecord(network.state_dict()), "metrics": told}), reply_to=message)

    class Timed(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            made = super().aggregate_train(server_round, replies)
            ends.append(time.perf_counter())
            return made

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        network, _, _ = _quickstart_site(name, 0)
        Timed(fraction_evaluate=0.0, min_available_nodes=SITES).start(
            grid=grid, initial_arrays=ArrayRecord(network.state_dict()), num_rounds=ROUNDS
        )

    with Meter() as meter, tempfile.TemporaryDirectory(prefix="fedcxr-") as scratch:
        plan = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": init_args(Path(scratch), "")}
        run_simulation(server, client, SITES, backend_config=plan)
        return {"round_s": _steady(ends), "memory": meter.peak_mb()}


def _quickstart_site(name: str, place: int) -> tuple[Any, Any, Any]:
    from fedcxr.data import cache_folder
    from fedcxr.models.backbone import Design
    from fedcxr.models.classifier import classifier
    from fedcxr.rng import stream
    from fedcxr.simulation.experiment import Experiment

    scenario = _scenario(name)
    films = Experiment.open(scenario, cache_folder()).site(scenario.site_names[place]).where("train")
    return classifier(Design(name), len(films.findings), stream(0)), films.films(), films.labels


def _steady(ends: list[float]) -> float:
    return median(later - earlier for earlier, later in itertools.pairwise(ends))


# Differential privacy ------------------------------------------------------------------------------------------------


def _private(options: argparse.Namespace) -> None:
    print(f"{DP_STEPS} steps of {BATCH} patients at 64 px, CPU seconds, the same network without batch statistics\n")
    print(f"{'':14}{'plain':>8}{'private':>9}{'ratio':>7}")
    for network in ("narrow", "resnet18", "densenet121"):
        turns = [_child("dp", network) for _ in range(options.turns)]
        plain, private = (median(turn[arm] for turn in turns) for arm in ("plain", "private"))
        ratio = median(turn["private"] / turn["plain"] for turn in turns)
        print(f"{network:14}{plain:8.2f}{private:9.2f}{ratio:7.2f}")


def _dp(options: argparse.Namespace) -> dict[str, Any]:
    from fedcxr import plugins
    from fedcxr.data import cache_folder
    from fedcxr.methods import Round, RunContext
    from fedcxr.rng import stream
    from fedcxr.simulation.experiment import Experiment

    scenario = _scenario(options.network)
    films = Experiment.open(scenario, cache_folder()).site("site-1").where("train")
    patients = len(set(films.patients))
    private: Any = plugins.build(
        "method",
        {"name": "dp_sgd", "network": options.network, "rounds": 1, "steps": DP_STEPS, "unit": "record",
         "sample_rate": min(BATCH / len(films), 1.0), "batch": BATCH, "noise_multiplier": 1.0},
    )  # fmt: skip
    plain: Any = scenario.method.model_copy(update={"norm": "group", "steps": DP_STEPS})
    found = {}
    for name, method in (("plain", plain), ("private", private)):
        context, start = RunContext("cpu", "fp32"), method.initial(stream(0))
        before = time.process_time()
        method.learn(films, stream(1), context, start, Round(0, 1))
        found[name] = time.process_time() - before
    return {**found, "patients": patients}


# Long ----------------------------------------------------------------------------------------------------------------


def _long(options: argparse.Namespace) -> None:
    memory = _child("memory", "narrow")
    print(
        f"200 rounds of {SITES} sites: {memory['mb_per_round']:.3f} MB more per round, at most {memory['peak']:.0f} MiB"
    )
    many = _child("many", "narrow")
    print(f"100 sites: {many['answered']} of 100 answered in {many['seconds']:.0f} s, at most {many['peak']:.0f} MiB")


def _memory(options: argparse.Namespace) -> dict[str, Any]:
    """What the process holds while rounds go by, as its own events see it."""
    import threading

    import psutil

    from server.meter import Meter
    from server.simulate import Options, simulate

    seen: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            seen.append((time.perf_counter(), psutil.Process().memory_info().rss))

    with tempfile.TemporaryDirectory() as out, Meter() as meter:
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        run = simulate(_scenario("narrow", rounds=200, steps=1, width=4), Options(Path(out), "inline"))
        over.set()
        thread.join()
        rounds = len(list((run.folder / "learnt").glob("round-*.release"))) - 1
        half = len(seen) // 2  # the first rounds fill pools that later ones use again
        grown = (seen[-1][1] - seen[half][1]) / 1e6 / (rounds / 2)
        return {"mb_per_round": grown, "peak": meter.peak_mb()}


def _many(options: argparse.Namespace) -> dict[str, Any]:
    from server.meter import Meter
    from server.simulate import Options, simulate

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out, Meter() as meter:
        scenario = _scenario("narrow", sites=100, rounds=2, steps=2, width=4, batch=2)  # the smallest has 3 films
        run = simulate(scenario, Options(Path(out), "inline"))
        assert run.result is not None
        answered = sum(site["status"] == "ok" for site in run.result["sites"])
        return {"answered": answered, "seconds": time.perf_counter() - start, "peak": meter.peak_mb()}


PARTS = {"rounds": _rounds, "dp": _private, "long": _long}
CHILDREN = {
    "plain": _plain,
    "inline": _engine,
    "ray": _engine,
    "flower": _flower,
    "dp": _dp,
    "memory": _memory,
    "many": _many,
}

if __name__ == "__main__":
    main()
