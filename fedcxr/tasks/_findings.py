"""What is known of films and what a classifier says of them: the figures of every task that reads findings off them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Cohort, Split
from fedcxr.errors import DataError
from fedcxr.metrics import finding_aucs, scored_findings
from fedcxr.metrics.bootstrap import mean_auc_interval
from fedcxr.table import Row, Table, figure, span
from fedcxr.tasks import Bools, Evidence, Material
from fedcxr.verdict.utility import findings as in_words
from fedcxr.view import Films

Inputs = Films | npt.NDArray[np.int8]  # films, or codes (n, c, h, w)
Labels = npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN
Patients = npt.NDArray[np.object_]  # (n,)
Sites = npt.NDArray[np.object_]  # (n,)

# What people are told of each arm, in this order; `result.json` has them in the order of ARMS.
LEVELS = {
    "raw": "trained and used on clean films: the ceiling",
    "frozen": "trained on clean films, used on released ones",
    "trained": "trained on releases, used on clean films",
    "trained_released": "trained on releases, used on released films",
    "unauthorised": "trained and used on what shows without a key",
    "together": "the same learning, of all films at one place",
    "alone": "the same learning, of each site alone; mean",
    "start": "where learning began: no hospital's film",
}
ARMS = ("trained", "trained_released", "frozen", "raw", "unauthorised")


@dataclass(frozen=True)
class Labelled:
    """Films or codes, and what is known of them."""

    inputs: Inputs  # (n, ...)
    labels: Labels  # (n, k)
    patients: Patients  # for intervals by patient, never for training
    findings: tuple[str, ...]  # k names
    sites: Sites | None = None  # who holds or released each; None: nobody asks

    @classmethod
    def of(cls, cohort: Cohort, sites: Sites | None = None) -> Labelled:
        """Clean films."""
        return cls(cohort.films(), cohort.labels, cohort.patients, cohort.findings, sites)

    def take(self, rows: Bools) -> Labelled:
        """Some of them."""
        sites = None if self.sites is None else self.sites[rows]
        return Labelled(self.inputs[rows], self.labels[rows], self.patients[rows], self.findings, sites)

    def same_as(self, other: Labelled) -> bool:
        """Whether there is the very same to learn from both."""
        same = np.array_equal(self.inputs, other.inputs)
        return same and np.array_equal(self.labels, other.labels, equal_nan=True)


@dataclass(frozen=True)
class Scored:
    """What a classifier said of some films."""

    labels: Labels
    scores: npt.NDArray[np.float32]  # (n, k)
    patients: Patients  # for intervals
    findings: tuple[str, ...]  # k names


def train_and_test(evidence: Evidence) -> tuple[Cohort, Cohort]:
    """The sites' films that a classifier of clean films learns from, and those that all are tested on."""
    train, test = (evidence.cohort.take(evidence.films(split)) for split in ("train", "test"))
    if not len(train) or not len(test):
        raise DataError(
            "findings need films to train on and films to test on",
            given=f"{len(train)} and {len(test)}",
            do="use a larger cohort",
        )
    return train, test


def released(evidence: Material, inputs: Inputs, rows: Bools) -> Labelled:
    """Some of what was shared."""
    by = evidence.released_by[rows]
    return Labelled(inputs[rows], evidence.labels[rows], evidence.patients[rows], evidence.findings, by)


def lent(evidence: Evidence, inputs: Inputs, split: Split) -> Labelled:
    """What somebody learns from, or is tested on, who can read nothing and is lent the findings."""
    rows, labels = evidence.lent(split)
    return Labelled(inputs[rows], labels, evidence.patients[rows], evidence.findings, evidence.released_by[rows])


def figures_of(one: Scored, rng: np.random.Generator, bootstraps: int, min_positives: int) -> dict[str, Any]:
    """Mean AUC and that of each finding, with intervals by patient from `rng`."""
    labels, scores, patients, findings = one.labels, one.scores, one.patients, one.findings
    aucs = finding_aucs(labels, scores, findings, min_positives)
    intervals = mean_auc_interval(labels, scores, patients, rng, bootstraps, min_positives=min_positives)
    positives = (labels == 1).sum(axis=0)
    return {
        "mean_auc": _figure(aucs.mean_auc, intervals.mean_auc),
        "per_finding": {
            name: None
            if aucs.per_finding[name] is None
            else {**_figure(aucs.per_finding[name], interval), "positives": int(count)}
            for name, interval, count in zip(findings, intervals.per_finding, positives, strict=True)
        },
        "skipped": list(aucs.skipped),
    }


def _figure(value: float | None, interval: tuple[float, float] | None) -> dict[str, Any]:
    return {"value": value, "ci95": None if interval is None else list(interval)}


def told_of(figures: Mapping[str, Any], title: str) -> Table:
    """What people are told of the figures of all arms."""
    rows = [
        Row(f"{level}: {meaning}", (figure(mean["value"]), span(mean["ci95"])))
        for level, meaning in LEVELS.items()
        if figures.get(level) is not None and (mean := figures[level]["mean_auc"])
    ]
    skipped = figures["raw"]["skipped"] if figures["raw"] else ()
    notes = (f"too few films with it, or without, to score: {', '.join(skipped)}",) if skipped else ()
    return Table(title, ("AUC", "95 % interval"), tuple(rows), notes, in_words(figures))


def demand_scored(test: Cohort, min_positives: int, task: str) -> None:
    """Refuse films of the test split on which no finding could be scored."""
    there, not_there = ((test.labels == state).sum(axis=0) for state in (1, 0))
    if (there + not_there).any() and not scored_findings(test.labels, min_positives).any():
        told = zip(test.findings, there, not_there, strict=True)
        raise DataError(
            "no finding can be scored on the films of test, so their usefulness would stay unknown",
            given=", ".join(f"{name} {yes} with, {no} without" for name, yes, no in told if yes + no),
            allowed=f"{min_positives} films with a finding and as many without (tasks.{task}.min_positives)",
            do="more films in test (splits.shares), other findings, or tasks={} to attack alone",
        )
