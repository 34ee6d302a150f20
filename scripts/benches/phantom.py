"""How fast phantom films are rendered, in films per CPU-second on one thread.

    scripts/bench phantom
    scripts/bench phantom --against OTHER.py     # with sample_cohort(seed, patients, prev=), render(cohort, rows, size)

With `--against`, both renderers take turns in one process, and the ratio is that of the same turn.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from fedcxr.data.phantom.render import render
from fedcxr.data.phantom.visits import Population, Visits, sample

FILMS = {64: 256, 128: 128, 256: 48}  # per turn
BATCHES = {64: 64, 128: 32, 256: 12}


def main() -> None:
    """Render at each size in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another renderer")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    other = _other(options.against) if options.against else None
    print(f"{'px':>4}{'films/CPU-s':>14}" + (f"{'other':>10}{'ratio':>8}" if other else ""))
    for size in FILMS:
        turns = [(_rate(_ours, size), _rate(other, size) if other else None) for _ in range(options.turns)]
        line = f"{size:4}{median(ours for ours, _ in turns):14.0f}"
        if other:
            line += f"{median(its for _, its in turns if its):10.0f}{median(o / i for o, i in turns if i):8.2f}"
        print(line)


Renderer = Callable[[int, "np.ndarray"], object]  # size, rows


def _ours(size: int, rows: np.ndarray) -> object:
    return render(0, _visits().take(rows), size)


@functools.cache
def _visits() -> Visits:
    return sample(
        Population(
            0, 3.6, "boosted", sources=5, patient_overlap=0.0, splits=(0.7, 0.1, 0.2), years_between=0.4, aging=0.0
        ),
        range(400),
    )


def _other(path: Path) -> Renderer:
    spec = importlib.util.spec_from_file_location("other_renderer", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cohort = module.sample_cohort(0, 400, prev="boost")
    return lambda size, rows: module.render(cohort, rows, size)


def _rate(renderer: Renderer, size: int) -> float:
    """Films per CPU-second, sampling of the patients left out by a first call that is not counted."""
    batches = np.array_split(np.arange(FILMS[size]), FILMS[size] // BATCHES[size])
    renderer(size, batches[0])
    start = time.process_time()
    for rows in batches:
        renderer(size, rows)
    return FILMS[size] / (time.process_time() - start)


if __name__ == "__main__":
    main()
