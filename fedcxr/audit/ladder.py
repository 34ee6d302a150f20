"""Attackers from the simplest to the strongest, each asked of every released film which originals it resembles.

`correlation`, `aligned` and `registered` learn nothing; `form` counts and weighs files; `phantom` is the package's own
verifier, which has only ever seen phantoms; `originals` is the same, gone on with original films of other patients;
`pairs` goes on from there with pairs of a released and an original film of other patients, until it stops rising;
`fused` hears them all. Whatever learns is cross-fitted: every film is scored once, by a network that saw no film of its
patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fedcxr.audit._fold import Block, Fold, Study, attacked
from fedcxr.audit._fusion import fused
from fedcxr.audit._workers import spread
from fedcxr.audit.pairing import Paired, Progress
from fedcxr.audit.scoring import QUESTIONS, Asked, Question, Scores, dealt, folds, relative
from fedcxr.rng import derive, stream
from fedcxr.training import Plan
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent


@dataclass(frozen=True)
class Budget:
    """How much is tried. In steps, not in seconds: the same command finds the same on every machine."""

    name: str
    size: int  # pixels of a film's side
    films: int  # at most; of more, patients are drawn
    folds: int
    networks: int  # from different seeds, whose logits are averaged
    study: Study


QUICK = Budget("quick", 64, 1500, 4, 1, Study(Plan(200, 4e-3), Ascent(800, 4e-3), Plan(60, 4e-3)))
THOROUGH = Budget("thorough", 96, 6000, 5, 2, Study(Plan(1000, 4e-3), Ascent(6400, 4e-3), Plan(200, 4e-3)))


@dataclass(frozen=True)
class Rung:
    """What one attacker says of every pair, and what it would have said after less."""

    scores: Mapping[Question, Scores]
    earlier: Mapping[int, Scores] = field(default_factory=dict)  # by steps, the last one included


Rungs = Mapping[str, Rung]


@dataclass(frozen=True)
class Climbed:
    """The attack and its two controls."""

    asked: Asked
    attack: Rungs
    originals: Rungs  # the same attackers where the originals themselves were released
    shuffled: Rungs  # the same attackers where identities mean nothing


def climb(paired: Paired, budget: Budget, seed: int, compute: Compute, progress: Progress, workers: int = 1) -> Climbed:
    """Every rung of the ladder."""
    asked = folds(paired.patients, budget.folds, stream(seed, "audit", "folds"))
    asked = replace(asked, sources=paired.sources)
    first, second = (dealt(asked, stream(seed, "audit", "shuffled", side)) for side in ("released", "originals"))
    films = paired.released, paired.originals, paired.forms
    jobs = [
        Fold(k, asked, *films, (first, second), budget.study, derive(seed, "audit", "network", network), compute)
        for network in range(budget.networks)
        for k in range(budget.folds)
    ]
    steps = len(jobs) * budget.study.steps
    said = spread(attacked, jobs, workers, lambda done: progress("attacking", done, steps))
    progress("hearing all attackers together", 0, 1)
    worlds = [
        {name: _whole(asked, jobs, [getattr(one, world)[name] for one in said]) for name in getattr(said[0], world)}
        for world in ("attack", "originals", "shuffled")
    ]
    attack, originals, shuffled = (_with_fused(scores, asked) for scores in worlds)
    earlier = {step: _whole(asked, jobs, [one.earlier[step] for one in said]) for step in said[0].earlier}
    attack["pairs"] = Rung(attack["pairs"].scores, earlier)
    progress("hearing all attackers together", 1, 1)
    return Climbed(asked, attack, originals, shuffled)


def _whole(asked: Asked, jobs: Sequence[Fold], blocks: Sequence[Block]) -> Scores:
    """The folds put together, and what several networks say of one fold averaged; nan between folds."""
    total = np.where(asked.compared, np.float32(0), np.float32(np.nan))
    networks = len(jobs) / (asked.fold.max() + 1)
    for job, block in zip(jobs, blocks, strict=True):
        total[np.ix_(job.rows, job.rows)] += block / np.float32(networks)
    return relative(total, asked)


def _with_fused(scores: Mapping[str, Scores], asked: Asked) -> dict[str, Rung]:
    together = {question: fused(list(scores.values()), asked, question) for question in QUESTIONS}
    return {name: Rung(dict.fromkeys(QUESTIONS, one)) for name, one in scores.items()} | {"fused": Rung(together)}
