"""How many films each method releases per second, and what a training step of PriCheXy-Net costs.

    scripts/bench methods                        # the default networks, 64 and 256 px
    scripts/bench methods --paper --turns 2      # ResNet-50, DenseNet-121, U-Net 32 ... 512, batch 64, 256 px

`plain` is the same step as one would first write it: float32, channels first, an optimiser as it comes; generator,
classifier and verifier each with losses of their own, so that the opponents see the protected films twice. Both run
in turn, and the ratio is that of the same turn. On a CPU, time is the process's own: others at work do not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from fedcxr import plugins
from fedcxr.cohort import COLUMNS, FINDINGS, Cohort
from fedcxr.methods import Films, Protect, Round, RunContext
from fedcxr.methods._adversarial_training import AdversarialTraining
from fedcxr.methods.prichexy_net import PriCheXyNet
from fedcxr.models.classifier import findings_loss
from fedcxr.models.siamese import partner_loss
from fedcxr.rng import stream
from fedcxr.training.compute import Compute, Device
from fedcxr.training.schedule import ResumableSchedule

PAPER = {
    "widths": (32, 64, 128, 256, 512), "cell": 1, "classifier": "densenet121", "verifier": "resnet50", "batch": 64
}  # fmt: skip


def main() -> None:
    """Release with every method, then train."""
    options = _options()
    devices: list[Device] = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        context = RunContext(device=device, threads=options.threads)
        print(f"{device}, {context.compute.precision}, threads: {options.threads}\n")
        if not options.paper:
            _releasing(context, options.sizes)
        for size in [256] if options.paper else options.sizes:
            _training(context, size, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256], help="pixels of a film's side")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of training, in each turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--paper", action="store_true", help="train the paper's networks (on a GPU: seconds per step)")
    return parser.parse_args()


def _cohort(size: int, patients: int = 128) -> Cohort:
    """Two films each of made-up patients; what is on them costs nothing."""
    owner = np.repeat(np.arange(patients), 2)
    index = pd.DataFrame(dict.fromkeys(COLUMNS, "x"), index=range(len(owner)))
    index = index.assign(patient=owner.astype(str), split="train", **dict.fromkeys(FINDINGS, owner % 2.0))
    return Cohort.whole(stream(0, "films").integers(0, 256, (len(owner), size, size), dtype=np.uint8), index)


# Releasing ------------------------------------------------------------------------------------------------------------


def _releasing(context: RunContext, sizes: list[int]) -> None:
    print("films released per second" + "".join(f"{f'{size} px':>12}" for size in sizes))
    for name in plugins.names("method"):
        method: Any = plugins.build("method", name)
        if method.kind != "images":
            continue
        protect = method.protector(method.initial(stream(0)), context)
        print(
            f"  {name:<23}"
            + "".join(f"{_rate(protect, _cohort(size).films(), context.compute):12.0f}" for size in sizes)
        )
    print()


def _rate(protect: Protect, films: Films, compute: Compute) -> float:
    rng = stream(0, "release")
    protect(films[:32], rng)
    clock = _clock(compute)
    begun, released = clock(), 0
    while clock() - begun < 1.0:
        protect(films, rng)
        released += len(films)
    return released / (clock() - begun)


def _clock(compute: Compute) -> Callable[[], float]:
    def after_the_gpu() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return after_the_gpu if compute.device.type == "cuda" else time.process_time


# Training -------------------------------------------------------------------------------------------------------------


def _training(context: RunContext, size: int, options: argparse.Namespace) -> None:
    steps, cohort = options.steps, _cohort(size)
    method = PriCheXyNet(**(PAPER if options.paper else {}), steps=steps, shift=0)
    ours, plain = _ours(method, cohort, context.compute), _plain(method, cohort, context)
    compute = context.compute
    with compute.session():
        for arm in (ours, plain):
            arm(3)
        turns = [[_seconds(arm, steps, compute) / steps for arm in (ours, plain)] for _ in range(options.turns)]
    mine, theirs = (1000 * median(column) for column in zip(*turns, strict=True))
    ratio = median(theirs / mine for mine, theirs in turns)
    wanted = 2.0 if compute.device.type == "cuda" else 1.8
    print(f"a training step of prichexy_net, {size} px, batch {method.batch}")
    print(f"  plain {theirs:9.1f} ms\n  ours  {mine:9.1f} ms, {ratio:.2f} times as fast (wanted: {wanted})\n")


def _seconds(arm: Callable[[int], None], steps: int, compute: Compute) -> float:
    clock = _clock(compute)
    begun = clock()
    arm(steps)
    return clock() - begun


def _training_of(method: PriCheXyNet, cohort: Cohort, compute: Compute) -> AdversarialTraining:
    return method._training(cohort, stream(0, "learn"), compute, None)


def _ours(method: PriCheXyNet, cohort: Cohort, compute: Compute) -> Callable[[int], None]:
    training = _training_of(method, cohort, compute)
    stage = method._stages(training, Round(), alone=False, trained=True)[0]
    schedule = ResumableSchedule(training.networks(), (stage,), training.batches.rng, lambda *_: None)
    schedule._enter(stage)

    def steps(count: int) -> None:
        for step in range(count):
            schedule._take(stage, step)

    return steps


def _plain(method: PriCheXyNet, cohort: Cohort, context: RunContext) -> Callable[[int], None]:
    compute = Compute(context.compute.device, "fp32", context.threads)
    training = _training_of(method, cohort, compute)
    for network in training.networks().values():
        network.to(memory_format=torch.contiguous_format).train()
    generator, classifier, verifier, batches = (
        training.generator,
        training.classifier,
        training.verifier,
        training.batches,
    )
    assert classifier is not None
    assert verifier is not None
    optimisers = [torch.optim.AdamW(network.parameters(), lr=1e-4) for network in training.networks().values()]

    def films(rows: np.ndarray) -> torch.Tensor:
        return (torch.from_numpy(cohort.films(rows)).to(compute.device).float() / 255)[:, None]

    def descend(loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
        for one in optimisers:
            one.zero_grad()
        loss.backward()
        if not torch.isfinite(loss):
            raise RuntimeError("diverged")
        optimiser.step()

    def step() -> None:
        rows, partners = batches.pairs(0.5)
        rows = np.concatenate([rows, batches.anyone(beside=len(rows))])
        labels, ones = batches.findings(rows), torch.ones(len(FINDINGS), device=compute.device)
        partner_films = films(partners)
        protected = generator(films(rows))
        logits = verifier.compare(verifier.embed(protected[: len(partners)]), verifier.embed(partner_films))
        seen = findings_loss(classifier(protected), labels, ones)
        descend(seen + F.softplus(logits.diagonal()).mean(), optimisers[0])
        protected = protected.detach()
        descend(findings_loss(classifier(protected), labels, ones), optimisers[1])
        logits = verifier.compare(verifier.embed(protected[: len(partners)]), verifier.embed(partner_films))
        descend(partner_loss(logits, method.sharpness), optimisers[2])

    def steps(count: int) -> None:
        for _ in range(count):
            step()

    return steps


if __name__ == "__main__":
    main()
