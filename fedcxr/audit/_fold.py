"""All that is done for the films of one fold: compared as they are, and by networks that learn from the other folds."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedcxr.adversaries import _metric
from fedcxr.adversaries._alignment import aligned_correlation
from fedcxr.adversaries._registration import registered
from fedcxr.adversaries._shipped import shipped
from fedcxr.audit._network import Lessons, compared, sampler_of
from fedcxr.audit._workers import Told
from fedcxr.audit.pairing import Films, Forms
from fedcxr.audit.scoring import QUESTIONS, Asked, auc_of
from fedcxr.codes.support import correlation
from fedcxr.models.siamese import Siamese
from fedcxr.rng import stream
from fedcxr.training import Plan, fit
from fedcxr.training.compute import Compute
from fedcxr.training.rising import Ascent, Figures, best, rise

HELD_OUT = 0.15  # share of the people learnt from, by whom a network is told when to stop
FEWEST_JUDGES = 6  # people with two films, without whom nobody tells
FURTHEST = 5.0  # standard deviations; a number of a file that lies further off is no better known for it

Rows = npt.NDArray[np.intp]
Block = npt.NDArray[np.float32]  # (m, m) released x original, of one fold


@dataclass(frozen=True)
class Study:
    """How long networks learn, and what from."""

    originals: Plan  # original films of other patients
    pairs: Ascent  # released and original films of other patients
    shuffled: Plan  # the same, where identities mean nothing: there is nothing to learn
    lessons: Lessons = field(default_factory=Lessons)

    @property
    def steps(self) -> int:
        """Most steps of one network in one fold, as they are told."""
        return self.originals.steps + self.pairs.longest + self.shuffled.steps


@dataclass(frozen=True)
class Fold:
    """A fold, and all that is needed to attack it."""

    number: int
    asked: Asked
    released: Films
    originals: Films
    forms: tuple[Forms, Forms]  # of the originals and of the released ones
    orders: tuple[Rows, Rows]  # which released film and which original stand where identities mean nothing
    study: Study
    seed: int
    compute: Compute

    @property
    def rows(self) -> Rows:
        return np.flatnonzero(self.asked.fold == self.number)

    @property
    def others(self) -> Rows:
        return np.flatnonzero(self.asked.fold != self.number)

    def stream(self, *path: str) -> np.random.Generator:
        return stream(self.seed, "audit", "fold", self.number, *path)


@dataclass(frozen=True)
class Said:
    """What every attacker says of one fold, in the attack and in its two controls."""

    attack: dict[str, Block]
    originals: dict[str, Block]
    shuffled: dict[str, Block]
    earlier: dict[int, Block]  # what `pairs` would have said after fewer steps


def attacked(fold: Fold, told: Told) -> Said:
    """One fold, all of it."""
    rows, compute, study = fold.rows, fold.compute, fold.study
    released, originals = fold.released[rows], fold.originals[rows]
    with compute.session():
        attack = {
            "correlation": correlation(released, originals),
            "aligned": aligned_correlation(released, originals, compute),
            "registered": registered(released, originals, compute),
            "form": _by_form(fold),
        }
        raw = {
            "correlation": correlation(originals, originals),
            "aligned": aligned_correlation(originals, originals, compute),
            "registered": registered(originals, originals, compute),
        }
        start = shipped(compute)
        attack["phantom"] = start.scores(released, originals)
        raw["phantom"] = start.scores(originals, originals)
        drawn = fold.released[fold.orders[0]], fold.originals[fold.orders[1]]
        guessing = _taught(start.network, fold, _Material("shuffled", drawn, study.lessons, study.shuffled), told)
        places = np.ix_(*[_places(rows, order) for order in fold.orders])
        shuffled = {name: block[places] for name, block in attack.items()}
        shuffled["pairs"] = compared(guessing, drawn[0][rows], drawn[1][rows], compute)
        apart = replace(study.lessons, own=0.0)  # that a film is itself is too easily told
        clean = _Material("originals", (fold.originals, fold.originals), apart, study.originals)
        network = _taught(start.network, fold, clean, lambda step: told(study.shuffled.steps + step))
        attack["originals"] = compared(network, released, originals, compute)
        raw["originals"] = compared(network, originals, originals, compute)
        attack["pairs"], earlier = _risen(network, fold, told)
    told(study.steps)
    return Said(attack, raw, shuffled, earlier)


def _places(rows: Rows, order: Rows) -> Rows:
    """Where in the fold the films lie that stand in the places of these."""
    return np.searchsorted(rows, order[rows]).astype(np.intp)


def _by_form(fold: Fold) -> Block:
    """By numbers on both files alone, of which it is learnt from other patients what they tell."""
    original, released = (_standard(numbers, fold.others) for numbers in fold.forms)
    rng, people = fold.stream("form"), fold.asked.patients[fold.others]
    names = rng.permutation(np.unique(people))
    judges = np.isin(people, names[: len(names) // 4])
    known = np.concatenate([released[fold.others], original[fold.others]])
    metric = _metric.learn(known, np.tile(people, 2), np.tile(judges, 2), rng)
    return metric(released[fold.rows], original[fold.rows])


def _standard(numbers: Forms, seen: Rows) -> Forms:
    centre, spread = numbers[seen].mean(0), numbers[seen].std(0)
    return np.asarray(np.clip((numbers - centre) / np.maximum(spread, 1e-3), -FURTHEST, FURTHEST), dtype=np.float32)


@dataclass(frozen=True)
class _Material:
    """What a network is taught from."""

    name: str
    films: tuple[Films, Films]  # released and original, row by row
    lessons: Lessons
    plan: Plan


def _taught(start: Siamese, fold: Fold, material: _Material, told: Told) -> Siamese:
    """A copy of `start`, gone on with pairs of everybody outside the fold."""
    network = copy.deepcopy(start)
    sampler = sampler_of(fold.asked.patients, fold.others)
    rng = fold.stream(material.name)

    def loss(step: int) -> Tensor:
        return material.lessons.loss(network, material.films, sampler, rng, fold.compute)

    fit(network, loss, material.plan, fold.compute, lambda step, steps: told(step))
    return network


def _risen(network: Siamese, fold: Fold, told: Told) -> tuple[Block, dict[int, Block]]:
    """What a network says that goes on with pairs, and what it would have said after every share of the steps."""
    study, compute, rows = fold.study, fold.compute, fold.rows
    judges, seen = _judges(fold)
    sampler = sampler_of(fold.asked.patients, seen)

    def loss(network: Siamese, rng: np.random.Generator) -> Tensor:
        return study.lessons.loss(network, (fold.released, fold.originals), sampler, rng, compute)

    def judge(network: Siamese) -> Figures | None:
        if not len(judges):
            return None
        scores = compared(network, fold.released[judges], fold.originals[judges], compute)
        alone = Asked(fold.asked.patients[judges], np.zeros(len(judges), dtype=np.int64))
        return tuple(auc_of(scores, alone, question) for question in QUESTIONS)

    before = study.shuffled.steps + study.originals.steps

    def streams(name: str) -> np.random.Generator:
        return fold.stream("pairs", name)

    rungs = rise(network, loss, judge, study.pairs, compute, streams, lambda step, steps: told(before + step))
    said = {rung.steps: compared(rung.network, fold.released[rows], fold.originals[rows], compute) for rung in rungs}
    last = said[rungs[-1].steps]
    return said[best(rungs).steps], {steps: said.get(steps, last) for steps in study.pairs.rungs}


def _judges(fold: Fold) -> tuple[Rows, Rows]:
    """The films of people who are held out, and those of the others; nobody is if too few could be."""
    rows = fold.others
    people, films = np.unique(fold.asked.patients[rows], return_counts=True)
    several = fold.stream("judges").permutation(people[films > 1])
    held_out = several[: round(HELD_OUT * len(several))]
    if len(held_out) < FEWEST_JUDGES:
        return rows[:0], rows
    chosen = np.isin(fold.asked.patients[rows], held_out)
    return rows[chosen], rows[~chosen]
