"""Linking by numbers that describe each release: one learnt comparison per block of numbers, and all blocks together.

The numbers of a release are compared with those of a known film either as it is or as it would be expected to be
released, whichever serves people who were held out; on their pairs all scores become log-odds, and blocks are weighed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries._metric import Likeness, Metric, learn, pairs_of
from fedcxr.codes.support import correlation
from fedcxr.knowledge.own_films import Owned
from fedcxr.metrics import auc
from fedcxr.view import Films, Rows

Numbers = npt.NDArray[np.float32]  # (n, d)
Bools = npt.NDArray[np.bool_]
Released = npt.NDArray[Any]  # rows of whatever is released: films, or codes
Count = Callable[[Released], Numbers]

CHUNK = 256  # films protected at once
EVERY = 5  # of the people who are learnt from, one in so many decides how far covariances are shrunk
JUDGED = 500  # films of held-out people, at most
STRENGTH = 0.1  # inverse of how strongly the weights of blocks are drawn to nothing
LEAST = 1e-3  # weight of a block: the order that it gives remains
STEADY = 1e-6  # a number that varies less among one's own films says nothing


@dataclass(frozen=True)
class Form:
    """One form in which films under attack were released, and how films of one's own come into it."""

    rows: Rows  # those that have it
    released: Released
    protect: Callable[[Films, np.random.Generator], Released]
    clean: Callable[[Films], Released]  # nothing was done to them, but that they have this form
    pictures: Callable[[Released], Films]  # what it looks like
    blocks: Mapping[str, Count]
    draws: int = 2  # from which it is guessed how a film would be expected to be released


@dataclass(frozen=True)
class Described:
    """One block of numbers of all films there are."""

    released: Numbers  # (n, d) under attack
    protected: Sequence[Numbers]  # (o, d) each, of one's own, as released, time after time
    beside: Sequence[tuple[Numbers, Numbers]]  # of one's own (o, d) and of known films (m, d), in one guise or several


@dataclass(frozen=True)
class Compared:
    """How like films are by one block."""

    judged: Likeness  # (v, v) of held-out people: as released, and in the guise of known films
    attacked: Likeness  # (n, m)


@dataclass(frozen=True)
class Trial:
    """Pairs of films of people from whom no metric is learnt: they choose, weigh and calibrate."""

    people: npt.NDArray[np.int64]  # (o,) whose one's own films are
    judged: Bools  # (o,) films of such people
    rows: Rows  # (v,) those that are looked at

    @classmethod
    def of(cls, own: Owned) -> Trial:
        """People who were held out, or where none of these has two films, one in three of all."""
        judged = own.held_out
        if not pairs_of(own.people[judged]).any() or judged.all():
            judged = np.asarray(own.people % 3 == 0)
        return cls(own.people, judged, np.flatnonzero(judged)[:JUDGED])

    @property
    def genuine(self) -> Bools:  # (v, v)
        people = self.people[self.rows]
        return np.asarray(people[:, None] == people[None])

    @property
    def others(self) -> Bools:  # (v, v)
        """All pairs but those of a film and its own release, which everybody links."""
        return ~np.eye(len(self.rows), dtype=bool)

    @property
    def decides(self) -> bool:
        """Whether there are pairs of either kind."""
        genuine = self.genuine[self.others]
        return bool(genuine.any() and not genuine.all())

    def auc(self, one: Compared) -> float:
        """How well people who were held out are told apart; where nobody can be, all is as good."""
        return auc(self.genuine[self.others], one.judged[self.others]) if self.decides else 0.5


def described(form: Form, own: Films, known: Films, rng: np.random.Generator) -> dict[str, Described]:
    """Every block of one form."""
    once = _repeats(form, own, rng)
    draws = 1 if once else form.draws
    mine, theirs = ([_protected(form, films, rng) for _ in range(draws)] for films in (own, known))
    plain = form.clean(own), form.clean(known)
    found = {}
    for name, count in form.blocks.items():
        protected, others = ([count(draw) for draw in drawn] for drawn in (mine, theirs))
        expected = np.stack(protected).mean(axis=0), np.stack(others).mean(axis=0)
        beside = [(count(plain[0]), count(plain[1])), expected]
        found[name] = Described(count(form.released), protected, beside)
    return found


def log_odds(blocks: Mapping[str, Described], own: Owned, rng: np.random.Generator) -> dict[str, Likeness]:
    """Of every released film and every known one, by each block, and by `all`."""
    trial = Trial.of(own)
    compared = {name: _compared(block, trial, rng) for name, block in blocks.items()}
    found = {name: _weighed([one], trial) for name, one in compared.items()}
    return {**found, "all": _weighed(list(compared.values()), trial)}


def correlated(form: Form, own: Owned, known: Films, rng: np.random.Generator) -> Likeness:
    """Log-odds by the correlation of pictures, with which the rest is compared."""
    trial = Trial.of(own)
    mine = own.films[trial.rows]
    judged = correlation(form.pictures(_protected(form, mine, rng)), mine)
    return _weighed([Compared(judged, correlation(form.pictures(form.released), known))], trial)


def _protected(form: Form, films: Films, rng: np.random.Generator) -> Released:
    parts = [form.protect(films[start : start + CHUNK], rng) for start in range(0, len(films), CHUNK)]
    return np.concatenate(parts)


def _repeats(form: Form, own: Films, rng: np.random.Generator) -> bool:
    """Whether a film is released the same every time."""
    first, second = (form.protect(own[:2], rng) for _ in range(2))
    return bool(np.array_equal(first, second))


def _compared(block: Described, trial: Trial, rng: np.random.Generator) -> Compared:
    """In the guise that serves held-out people best."""
    taught, rows, tried = ~trial.judged, trial.rows, []
    for own, known in block.beside:
        if own.shape[1] != block.released.shape[1]:
            continue  # codes are published in another shape than they are made in
        usual = np.concatenate([numbers[taught] for numbers in block.protected])
        released, *protected = _standard(usual, block.released, *block.protected)
        mine, theirs = _standard(own[taught], own, known)
        told = [numbers[taught] for numbers in (*protected, mine)]
        if not all(numbers.any() for numbers in told):
            continue  # all of one's own films are alike by it
        metric = _learnt(np.concatenate(told), np.tile(trial.people[taught], len(told)), rng)
        tried.append(Compared(metric(protected[0][rows], mine[rows]), metric(released, theirs)))
    return max(tried, key=trial.auc) if tried else _nothing(block, trial)


def _nothing(block: Described, trial: Trial) -> Compared:
    attacked = np.zeros((len(block.released), len(block.beside[0][1])), dtype=np.float32)
    return Compared(np.zeros(trial.genuine.shape, dtype=np.float32), attacked)


def _learnt(numbers: Numbers, people: npt.NDArray[np.int64], rng: np.random.Generator) -> Metric:
    return learn(numbers, people, np.asarray(np.unique(people, return_inverse=True)[1] % EVERY == 0), rng)


def _standard(usual: Numbers, *numbers: Numbers) -> list[Numbers]:
    """The same in deviations from what is usual."""
    centre, spread = usual.mean(axis=0), usual.std(axis=0)
    varies = spread > STEADY
    scale = np.where(varies, spread, 1)
    return [np.where(varies, (one - centre) / scale, 0).astype(np.float32) for one in numbers]


def _weighed(blocks: Sequence[Compared], trial: Trial) -> Likeness:
    """One score from several, as log-odds at even prior odds, by a logistic regression on pairs of held-out people."""
    if not trial.decides:
        return np.asarray(np.sum([one.attacked for one in blocks], axis=0), dtype=np.float32)
    usual = [(one.judged[trial.others].mean(), max(float(one.judged[trial.others].std()), STEADY)) for one in blocks]
    judged = np.stack([(one.judged[trial.others] - c) / s for one, (c, s) in zip(blocks, usual, strict=True)], axis=1)
    weights, bias = _fitted(judged, trial.genuine[trial.others])
    odds = np.full(blocks[0].attacked.shape, bias, dtype=np.float32)
    for one, (centre, spread), weight in zip(blocks, usual, weights, strict=True):
        odds += np.float32(weight) * ((one.attacked - centre) / spread).astype(np.float32)
    return odds


def _fitted(judged: Numbers, genuine: Bools) -> tuple[npt.NDArray[np.float64], float]:
    """Weights and bias; none is negative, for to be alike never speaks against two films."""
    # Imported here, because it takes a second.
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

    weights, used = np.full(judged.shape[1], LEAST), np.arange(judged.shape[1])
    while True:
        model = LogisticRegression(class_weight="balanced", C=STRENGTH).fit(judged[:, used], genuine)
        against = model.coef_[0] <= LEAST
        if not against.any() or against.all():
            weights[used] = np.maximum(model.coef_[0], LEAST)
            return weights, float(model.intercept_[0])
        used = used[~against]
