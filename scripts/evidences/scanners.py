"""Findings at a hospital whose scanner no training film is from: mean AUC for each way to make scanners alike.

scripts/evidence scanners
scripts/evidence scanners --one
scripts/evidence scanners --patients 1200 --steps 500 --seeds 3

Each of the phantom's six scanners is left out in turn: the product's classifier learns from the films of the other
five, and reads all of the one that is left out (`elsewhere`), and the films of test of those five (`at home`). With
`--one` it is the other way round: it learns from one scanner alone, and all others are elsewhere. Of `elsewhere`, the
gain over each film's own contrast (`film`) comes with an interval over patients, who are drawn together for both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from fedcxr.alike import made_alike
from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.data.phantom import Phantom
from fedcxr.data.phantom.styles import STYLES
from fedcxr.metrics import MIN_POSITIVES, finding_aucs
from fedcxr.metrics.paired import Replicates, of_findings
from fedcxr.models.options import Normalise
from fedcxr.tasks import Bench
from fedcxr.tasks._findings import Labelled
from fedcxr.tasks.findings import Findings
from fedcxr.training import predict
from fedcxr.training.compute import Compute

BY_NETWORK: tuple[Normalise, ...] = get_args(Normalise)
BY_SITE = "site"
PLAIN = "film"


@dataclass(frozen=True)
class Read:
    """How well the films of one scanner were read by who had learnt from others."""

    elsewhere: float
    home: float
    replicates: Replicates


def main() -> None:
    """Print one row per way, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=900)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--one", action="store_true", help="learn from one scanner alone, not from all but one")
    parser.add_argument("--ways", nargs="+", choices=(*BY_NETWORK, BY_SITE), default=(*BY_NETWORK, BY_SITE))
    options = parser.parse_args()
    compute = Compute.choose("cpu", "fp32", threads=1)
    found: dict[str, list[Read]] = {way: [] for way in options.ways}
    for seed in range(options.seeds):
        films = Phantom(patients=options.patients, sources=len(STYLES), seed=seed).open(cache_folder())
        sources = films.index["source"].to_numpy()
        alike = made_alike(films, {name: np.flatnonzero(sources == name) for name in sorted(set(sources))})
        for source in sorted(set(sources)):
            for way in options.ways:
                by_site = way == BY_SITE
                task = Findings(steps=options.steps, normalise="none" if by_site else way, most_epochs=16)
                left_out = (sources == source) != options.one
                bench = Bench(seed=seed, compute=compute)
                found[way].append(_read(alike if by_site else films, left_out, task, bench))
    print("| films made alike by | at home | elsewhere | worst scanner | gain over each film's contrast |")
    print("|---|---|---|---|---|")
    for way, reads in found.items():
        own = [read.elsewhere for read in reads]
        gain = "" if way == PLAIN or PLAIN not in found else _gain(reads, found[PLAIN])
        print(f"| {way} | {np.mean([r.home for r in reads]):.3f} | {np.mean(own):.3f} | {min(own):.3f} | {gain} |")


def _read(films: Cohort, there: npt.NDArray[np.bool_], task: Findings, bench: Bench) -> Read:
    tested = films.index["split"].to_numpy() == "test"
    with bench.compute.session():
        network = task.train(Labelled.of(films.take(~there & ~tested)), bench, "at home")
        elsewhere, home = (
            (one, predict(network, one.inputs, bench.compute))
            for one in (Labelled.of(films.take(rows)) for rows in (there, ~there & tested))
        )
    replicates = of_findings(elsewhere[0].labels, elsewhere[1], elsewhere[0].patients)
    assert replicates is not None, "a scanner without films"
    return Read(_auc(*elsewhere), _auc(*home), replicates)


def _auc(films: Labelled, scores: npt.NDArray[np.float32]) -> float:
    mean = finding_aucs(films.labels, scores, films.findings, MIN_POSITIVES).mean_auc
    assert mean is not None, "no finding to be scored"
    return mean


def _gain(reads: Sequence[Read], plain: Sequence[Read]) -> str:
    def mean(of: Sequence[Read]) -> npt.NDArray[np.float64]:
        every = np.array([read.replicates.values for read in of], dtype=np.float64)
        averaged: npt.NDArray[np.float64] = every.mean(axis=0)
        return averaged

    value = np.mean([read.elsewhere for read in reads]) - np.mean([read.elsewhere for read in plain])
    low, high = np.quantile(mean(reads) - mean(plain), [0.025, 0.975])
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
