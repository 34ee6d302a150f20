"""Verification and findings on two small collections of real films, beside the simplest baselines.

    scripts/evidence real_films --data DIR                   # DIR holds covid/ and kermany/
    scripts/evidence real_films --data DIR --format json
    scripts/evidence real_films --data DIR --only verification --jobs 2

`correlation` is Pearson's, of raw pixels. Two scorers have never seen a real film: `registered` looks for the squares
of one film on the other, and `phantom` is the verifier that comes with the package; `untuned` is their sum. `tuned` is
that verifier gone on with real films by cross-fitting: every film is scored once, by a network that saw neither its
patient nor its publication; `fused` is the sum of `registered` and `tuned`. All but `correlation` are relative to what
both films score with the others. Networks of two folds need not mean the same, so `tuned` and `fused` are scored on
pairs within a fold, and their AUC compares pairs of one fold only. Differences are to `correlation`, on the same pairs
and in the same draws of patients.
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
from _ending import in_one_line
from _findings import answered, questions
from _real_cohorts import RealFilms, covid, enough, folds_of, kermany
from _scorers import Corpus, Matrix, Recipe, among

from fedcxr.adversaries._registration import registered
from fedcxr.adversaries._shipped import Verifier
from fedcxr.codes.support import correlation
from fedcxr.data._pool import in_parallel
from fedcxr.metrics import stratified_auc
from fedcxr.metrics.bootstrap import auc_difference_interval, auc_interval
from fedcxr.models.relative import relative
from fedcxr.rng import stream
from fedcxr.scenario.document import preset_of
from fedcxr.tasks.findings import Findings
from fedcxr.training.compute import Compute

FOLDS = {"covid": 4, "kermany": 3}
BASELINE = "correlation"


def main() -> None:
    """Score all pairs in six ways, and all films in two; what cannot show anything ends with one line and code 3."""
    with in_one_line():
        _run(_options())


def _run(options: argparse.Namespace) -> None:
    started = time.process_time()
    compute = Compute.choose("cpu")
    verifier = Verifier.load(compute, options.verifier)
    films = [read(options.data, verifier.size) for read in (covid, kermany)]
    for cohort in films:
        enough(cohort)
    pairs: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    elsewhere = 0.0
    with compute.session():
        if options.only != "findings":
            pairs, elsewhere = _verification(films, verifier, options)
        if options.only != "verification":
            robust = preset_of("robust")["tasks"]["findings"] if options.robust else {}
            task = Findings(**{**robust, "steps": options.findings_steps})
            asked = questions(*films)
            found = [entry for question in asked for entry in answered(question, task, options.seed, compute)]
    cost = {"cpu_minutes": round((time.process_time() - started + elsewhere) / 60, 1), "precision": compute.precision}
    if options.format == "json":
        settings = {"size": verifier.size, "seed": options.seed, "networks": options.networks}
        print(json.dumps({**settings, **cost, "verification": pairs, "findings": found}, indent=2))
        return
    print(f"{verifier.size} px, seed {options.seed}, {options.networks} networks, {compute.precision}\n")
    if pairs:
        _table(pairs, "pairs", ("genuine", "impostors"))
    if found:
        _table(found, "question", ("films", "clusters"))
    print(f"{cost['cpu_minutes']} CPU minutes")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with covid/ and kermany/")
    parser.add_argument("--verifier", type=Path, metavar="FILE", help="weights instead of those that are shipped")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=1, help="tuned with different seeds, scores averaged")
    parser.add_argument("--jobs", type=int, default=1, help="processes that tune; the figures are the same")
    parser.add_argument("--findings-steps", type=int, default=300)
    parser.add_argument("--robust", action="store_true", help="the classifier of --preset robust")
    parser.add_argument("--only", choices=("verification", "findings"))
    parser.add_argument("--format", choices=("table", "json"), default="table")
    return parser.parse_args()


# Verification ---------------------------------------------------------------------------------------------------------


def _verification(
    films: list[RealFilms], verifier: Verifier, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], float]:
    """Figures of every protocol and scorer, and the CPU seconds of other processes."""
    folds = [folds_of(f.units, FOLDS[f.name], stream(options.seed, "real films", f.name, "folds")) for f in films]
    turns = [
        Turn(cohort, other, fold == number, number, seed, options.verifier)
        for cohort, other, fold in zip(films, films[::-1], folds, strict=True)
        for number in range(fold.max() + 1)
        for seed in range(options.seed, options.seed + options.networks)
    ]
    sums = {cohort.name: np.zeros((len(cohort.films),) * 2) for cohort in films}
    elsewhere = 0.0
    for turn, (within, seconds) in in_parallel(cross_fitted, turns, options.jobs):
        _say(f"{turn.cohort.name}, fold {turn.number + 1}, network {turn.seed}: {seconds:.0f} s")
        places = np.flatnonzero(turn.test)
        sums[turn.cohort.name][np.ix_(places, places)] += within / options.networks
        elsewhere += seconds if options.jobs > 1 else 0.0
    entries = []
    for cohort, fold in zip(films, folds, strict=True):
        tuned = np.where(fold[:, None] == fold, sums[cohort.name], np.nan).astype(np.float32)
        alike = registered(cohort.films, None, verifier.compute)
        phantom = relative(among(verifier, cohort.films))
        scores = {
            BASELINE: correlation(cohort.films, cohort.films),
            "registered": alike,
            "phantom": phantom,
            "untuned": alike + phantom,
            "tuned": tuned,
            "fused": alike + tuned,
        }
        for protocol in protocols(cohort, fold):
            entries += figures(cohort, protocol, scores, options.seed)
    return entries, elsewhere


@dataclass(frozen=True)
class Turn:
    """One fold of one collection, left to a network that is tuned on everything else."""

    cohort: RealFilms
    other: RealFilms
    test: npt.NDArray[np.bool_]  # (n,) films of the fold
    number: int
    seed: int
    verifier: Path | None


def cross_fitted(turn: Turn) -> tuple[Matrix, float]:
    """Scores of all pairs within the fold, and the CPU seconds that this took."""
    started, compute = time.process_time(), Compute.choose("cpu")
    cohort, other, seen = turn.cohort, turn.other, ~turn.test
    corpora = [
        Corpus(cohort.films[seen], cohort.patients[seen], cohort.sources[seen], people=24),
        Corpus(other.films, other.patients, other.sources, people=24),
    ]
    rng = stream(turn.seed, "real films", cohort.name, "fold", turn.number)
    with compute.session():
        tuned = Recipe().tuned(Verifier.load(compute, turn.verifier), corpora, rng)
        scores = relative(among(tuned, cohort.films[turn.test]))
    return scores, time.process_time() - started


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
        del given["tuned"], given["fused"]
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
