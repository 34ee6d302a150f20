"""Verification and findings on two small collections of real films, beside the simplest baselines.

    scripts/evidence real_films --data DIR                   # DIR holds covid/ and kermany/
    scripts/evidence real_films --data DIR --format json

`correlation` is Pearson's, of raw pixels; `aligned` the best one of local contrast over small shifts, turns and zooms;
`phantom` a verifier that has never seen a real film; `tuned` the same, gone on with real films by cross-fitting: every
film is scored once, by a network that saw neither its patient nor its publication. Networks of two folds need not
mean the same by a logit, so `tuned` is scored on pairs within a fold, and its AUC compares pairs of one fold only.
Differences are to `correlation`, on the same pairs and in the same draws of patients.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _findings import answered, questions
from _real_cohorts import RealFilms, covid, folds_of, kermany
from _scorers import Corpus, Matrix, Recipe, aligned_correlation, compared, correlation

from fedcxr.data import cache_folder
from fedcxr.data.phantom import Phantom
from fedcxr.metrics import stratified_auc
from fedcxr.metrics.bootstrap import auc_difference_interval, auc_interval
from fedcxr.models.siamese import Siamese
from fedcxr.rng import stream
from fedcxr.tasks.findings import Findings
from fedcxr.training.compute import Compute

FOLDS = {"covid": 4, "kermany": 3}
BASELINE = "correlation"


def main() -> None:
    """Score all pairs in four ways, and all films in two."""
    options = _options()
    started = time.process_time()
    compute = Compute.choose("cpu")
    films = [read(options.data, options.size) for read in (covid, kermany)]
    with compute.session():
        pairs = _verification(films, options, compute)
        task = Findings(steps=options.findings_steps)
        found = [entry for question in questions(*films) for entry in answered(question, task, options.seed, compute)]
    cost = {"cpu_minutes": round((time.process_time() - started) / 60, 1), "precision": compute.precision}
    if options.format == "json":
        settings = {"size": options.size, "seed": options.seed, "networks": options.networks}
        print(json.dumps({**settings, **cost, "verification": pairs, "findings": found}, indent=2))
        return
    print(f"{options.size} px, seed {options.seed}, {options.networks} networks, {compute.precision}\n")
    _table(pairs, "pairs", ("genuine", "impostors"))
    _table(found, "question", ("films", "clusters"))
    print(f"{cost['cpu_minutes']} CPU minutes")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with covid/ and kermany/")
    parser.add_argument("--size", type=int, default=64, help="pixels of a film's side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=2, help="trained from different seeds, logits averaged")
    parser.add_argument("--findings-steps", type=int, default=300)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    return parser.parse_args()


# Verification ---------------------------------------------------------------------------------------------------------


def _verification(films: list[RealFilms], options: argparse.Namespace, compute: Compute) -> list[dict[str, Any]]:
    recipe, seeds = Recipe(), range(options.seed, options.seed + options.networks)
    source = Phantom(patients=800, size=options.size)
    rendered = source.open(cache_folder())
    patients, hospitals = (np.unique(rendered.index[c], return_inverse=True)[1] for c in ("patient", "source"))
    phantoms = Corpus(rendered.films(), patients, hospitals, people=32)
    started = []
    for seed in seeds:
        _say(f"phantoms, network {seed}")
        started.append(recipe.pretrained(phantoms, seed, compute))
    entries = []
    for cohort, other in (films, films[::-1]):
        fold = folds_of(cohort.units, FOLDS[cohort.name], stream(options.seed, "real films", cohort.name, "folds"))
        scores = {
            BASELINE: correlation(cohort.films),
            "aligned": aligned_correlation(cohort.films, compute),
            "phantom": np.mean([compared(network, cohort.films, compute) for network in started], axis=0),
            "tuned": np.mean(
                [
                    cross_fitted(cohort, other, fold, recipe, network, seed, compute)
                    for network, seed in zip(started, seeds, strict=True)
                ],
                axis=0,
            ),
        }
        for protocol in protocols(cohort, fold):
            entries += figures(cohort, protocol, scores, options.seed)
    return entries


def cross_fitted(
    cohort: RealFilms,
    other: RealFilms,
    fold: npt.NDArray[np.int64],
    recipe: Recipe,
    start: Siamese,
    seed: int,
    compute: Compute,
) -> Matrix:
    """Scores of all pairs within a fold, by a network tuned on the other folds and on the other collection."""
    scores = np.full((len(fold),) * 2, np.nan, dtype=np.float32)
    for number in range(fold.max() + 1):
        _say(f"{cohort.name}, network {seed}, fold {number + 1} of {fold.max() + 1}")
        seen, test = fold != number, np.flatnonzero(fold == number)
        corpora = [
            Corpus(cohort.films[seen], cohort.patients[seen], cohort.sources[seen], people=24),
            Corpus(other.films, other.patients, other.sources, people=24),
        ]
        rng = stream(seed, "real films", cohort.name, "fold", number)
        scores[np.ix_(test, test)] = compared(recipe.tuned(start, corpora, rng, compute), cohort.films[test], compute)
    return scores


@dataclass(frozen=True)
class Protocol:
    """Which pairs are scored, and which of them are compared with each other."""

    name: str
    a: npt.NDArray[np.intp]  # (n,)
    b: npt.NDArray[np.intp]
    strata: npt.NDArray[np.int64]  # (n,)
    one_network: bool  # each stratum lies in one fold, so that `tuned` can be scored


def protocols(cohort: RealFilms, fold: npt.NDArray[np.int64]) -> list[Protocol]:
    """All pairs, impostors of one source, and the one hospital; everywhere, and within folds."""
    a, b = np.triu_indices(len(fold), 1)
    genuine, same_fold = cohort.patients[a] == cohort.patients[b], fold[a] == fold[b]
    # Where one number was given twice, nobody knows whether it is one child.
    known = np.ones(len(a), dtype=bool) if cohort.name == "covid" else genuine | (cohort.units[a] != cohort.units[b])
    same_source = cohort.sources[a] == cohort.sources[b]
    hospital = cohort.hospital[a] & cohort.hospital[b]
    source = "source" if cohort.name == "covid" else "label"

    def chosen(name: str, which: npt.NDArray[np.bool_], strata: npt.NDArray[np.int64] | None) -> Protocol:
        which = which & known
        compared = (np.zeros(len(a), dtype=np.int64) if strata is None else strata)[which]
        # Every comparison must stay within a fold, and not only every pair.
        folds = np.unique(np.stack([compared, fold[a[which]]]), axis=1).shape[1]
        one_network = bool(same_fold[which].all()) and folds == len(np.unique(compared))
        return Protocol(f"{cohort.name}: {name}", a[which], b[which], compared, one_network)

    every = np.ones(len(a), dtype=bool)
    found = [
        chosen("all", every, None),
        chosen(f"impostors of one {source}", genuine | same_source, None),
        chosen("all, within folds", same_fold, fold[a]),
        chosen(f"impostors of one {source}, within folds", same_fold & (genuine | same_source), fold[a]),
    ]
    if cohort.name == "covid":
        found += [chosen("both of one source", same_source, cohort.sources[a]), chosen("one hospital", hospital, None)]
        first, second = cohort.published
        found.append(Protocol("covid: published list", first, second, np.zeros(len(first), dtype=np.int64), False))
    return found


def figures(cohort: RealFilms, protocol: Protocol, scores: Mapping[str, Matrix], seed: int) -> list[dict[str, Any]]:
    """One entry per scorer that scored all these pairs."""
    genuine = cohort.patients[protocol.a] == cohort.patients[protocol.b]
    people = cohort.patients[protocol.a], cohort.patients[protocol.b]
    given = {name: matrix[protocol.a, protocol.b] for name, matrix in scores.items()}
    if not protocol.one_network:
        del given["tuned"]
    entries = []
    for name, ours in given.items():
        rngs = (stream(seed, "real films", protocol.name) for _ in range(2))
        value = stratified_auc(genuine, ours, protocol.strata)
        base = given[BASELINE]
        entries.append(
            {
                "pairs": protocol.name,
                "genuine": int(genuine.sum()),
                "impostors": int((~genuine).sum()),
                "scorer": name,
                "auc": value,
                "ci95": auc_interval(ours, genuine, *people, next(rngs), strata=protocol.strata),
                "difference": value - stratified_auc(genuine, base, protocol.strata),
                "difference_ci95": auc_difference_interval(
                    ours, base, genuine, *people, next(rngs), strata=protocol.strata
                ),
            }
        )
    return entries


# Printing -------------------------------------------------------------------------------------------------------------


def _table(entries: list[dict[str, Any]], group: str, counts: tuple[str, str]) -> None:
    """A block of lines per group: what was measured once, then one line per scorer."""
    width = max(len(str(entry[group])) for entry in entries)
    titles = f"{'scorer':12}{'AUC':>5} {'95 %':13}  {'difference':>10} 95 %"
    print(f"{group:{width}}{counts[0]:>9}{counts[1]:>11}  {titles}")
    before = None
    for entry in entries:
        head = f"{entry[group]:{width}}{entry[counts[0]]:>9}{entry[counts[1]]:>11}"
        shown = head if entry[group] != before else " " * len(head)
        line = f"{shown}  {entry['scorer']:12}{entry['auc']:5.3f} {_between(entry['ci95']):13}"
        if entry["difference"]:
            line += f"  {entry['difference']:>+10.3f} {_between(entry['difference_ci95'], '+')}"
        print(line.rstrip())
        before = entry[group]
    print()


def _between(interval: tuple[float, float] | None, sign: str = "") -> str:
    return "-" if interval is None else f"{interval[0]:{sign}.3f} {interval[1]:{sign}.3f}"


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
