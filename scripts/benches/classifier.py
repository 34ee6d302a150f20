"""What an option of the classifier costs: seconds of a training step with it, against those of a plain one.

    scripts/bench classifier
    scripts/bench classifier --steps 20 --turns 15

All take turns on the same films in one process, on one thread and in processor time; each ratio is the median of those
of single turns. An option may cost 1.25 times a plain step.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from fedcxr.label_noise import Rates
from fedcxr.models.backbone import Design
from fedcxr.models.classifier import classifier
from fedcxr.rng import stream
from fedcxr.training import to_device
from fedcxr.training.classifier import Recipe, teach
from fedcxr.training.compute import Compute
from fedcxr.training.label_noise import Correction

FINDINGS = 14


@dataclass(frozen=True)
class Option:
    """What a step does beside a plain one."""

    design: Design = Design()  # noqa: RUF009  it is frozen
    comorbid: bool = False
    corrected: bool = False


OPTIONS = {
    "plain": Option(),
    "labels": Option(corrected=True),
    "film": Option(Design(normalise="film")),
    "histogram": Option(Design(normalise="histogram")),
    "bands": Option(Design(normalise="bands")),
    "comorbidity": Option(comorbid=True),
}


def main() -> None:
    """Train as many steps with each option, turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="in a turn")
    parser.add_argument("--turns", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = stream(0, "bench", "classifier")
    films = rng.integers(0, 256, size=(8 * options.batch, options.size, options.size), dtype=np.uint8)
    labels = (rng.random((len(films), FINDINGS)) < 0.2).astype(np.float32)
    compute = Compute.choose("cpu")
    rates = [Rates(sensitivity=0.8, specificity=0.9)] * FINDINGS
    correction = Correction.of(rates, 0.5, labels, compute.device)

    def took(option: Option) -> float:
        network = classifier(option.design, FINDINGS, stream(0, "bench", "weights"), comorbid=option.comorbid)
        recipe, told = Recipe(options.steps, options.batch), correction if option.corrected else None
        began = time.process_time()
        teach(
            to_device(network, compute), films, labels, recipe, stream(0, "bench", "batches"), compute, correction=told
        )
        return (time.process_time() - began) / int(options.steps)

    with compute.session():
        took(OPTIONS["plain"])  # imports, caches
        turns = [{name: took(option) for name, option in OPTIONS.items()} for _ in range(options.turns)]
    print(f"{options.batch} films of {options.size} px, {compute.precision}, median of {options.turns} turns")
    for name in OPTIONS:
        step, ratio = median(turn[name] for turn in turns), median(turn[name] / turn["plain"] for turn in turns)
        print(f"{name:<12} {1000 * step:7.1f} ms a step  {ratio:.3f} times a plain one")


if __name__ == "__main__":
    main()
