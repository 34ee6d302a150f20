"""Two questions asked of every released film, and how well scores answer them.

`film`: which original was it made of? `person`: which other film shows the same patient? Nobody is ever asked about a
film and its own original in the second. Films are compared within a fold only: those whose patients no network that
scores them has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import retrieval, stratified_auc, verification
from fedcxr.metrics.bootstrap import Interval, auc_interval
from fedcxr.rng import stream

Question = Literal["film", "person"]
Scores = npt.NDArray[np.float32]  # (n, n) released x original; higher means more alike; nan between folds
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]  # (n,) anonymous numbers

QUESTIONS: tuple[Question, ...] = ("film", "person")
REPLICATES = 1000
SAME = 1e-6  # a spread of scores below which they are all the same
SURE = 0.99  # of the interval that a conclusion rests on: several attackers are tried, and one of them is the best


@dataclass(frozen=True)
class Asked:
    """Whose the films are, and which of them are compared."""

    patients: Codes
    fold: Codes
    sources: Codes | None = None  # where each film is from, such as its device; below 0 where nobody knows
    near: bool = False  # impostors are films of the same source alone

    @cached_property
    def compared(self) -> Bools:  # (n, n)
        return np.asarray(self.fold[:, None] == self.fold[None])

    @cached_property
    def one_person(self) -> Bools:  # (n, n)
        return np.asarray(self.patients[:, None] == self.patients[None])

    def genuine(self, question: Question) -> Bools:  # (n, n)
        own = np.eye(len(self.patients), dtype=bool)
        return own if question == "film" else np.asarray(self.one_person & ~own & self.compared)

    @property
    def impostors(self) -> Bools:  # (n, n)
        strangers = np.asarray(self.compared & ~self.one_person)
        if not self.near or self.sources is None:
            return strangers
        known = (self.sources[:, None] == self.sources[None]) & (self.sources >= 0)
        return np.asarray(strangers & known)

    def among_one_source(self) -> Asked | None:
        """The same with impostors of the same source alone; None where sources are not known.

        Films of one device or publication resemble each other, and so do most films of one patient: only where the
        impostor is from there too has a patient been recognised, and not a device.
        """
        return None if self.sources is None else replace(self, near=True)

    def pairs(self, question: Question) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Bools]:
        """The rows and columns of all pairs that count, and which of them are genuine."""
        genuine = self.genuine(question)
        a, b = np.nonzero(genuine | self.impostors)
        return a, b, genuine[a, b]

    def within(self, rows: npt.NDArray[np.intp]) -> Asked:
        """The question about these films alone."""
        sources = None if self.sources is None else self.sources[rows]
        return replace(self, patients=self.patients[rows], fold=self.fold[rows], sources=sources)


def auc_of(scores: Scores, asked: Asked, question: Question) -> float:
    """The chance that a genuine pair scores above an impostor pair of its fold; nan where there is none."""
    a, b, genuine = asked.pairs(question)
    return stratified_auc(genuine, scores[a, b], asked.fold[a])


def interval_of(scores: Scores, asked: Asked, question: Question, seed: int, level: float = 0.95) -> Interval | None:
    """Of the same chance, by patients."""
    a, b, genuine = asked.pairs(question)
    rng = stream(seed, "audit", "bootstrap", question)
    owners = asked.patients[a], asked.patients[b]
    return auc_interval(scores[a, b], genuine, *owners, rng, REPLICATES, level, asked.fold[a])


def figures(scores: Scores, asked: Asked, question: Question, seed: int) -> dict[str, Any]:
    """How well these scores answer a question, with null for what cannot be known."""
    a, b, genuine = asked.pairs(question)
    rates = verification(scores[a, b][genuine], scores[a, b][~genuine]).tpr_at_fpr
    found = _first(scores, asked, question)
    near = asked.among_one_source()
    return {
        "auc": _auc(scores, asked, question, seed),
        "same_source_auc": None if near is None else _auc(scores, near, question, seed),
        "tpr_at_fpr": rates,
        **found,
        "pairs": {"genuine": int(genuine.sum()), "impostor": int((~genuine).sum())},
    }


def _auc(scores: Scores, asked: Asked, question: Question, seed: int) -> dict[str, Any]:
    ci95 = interval_of(scores, asked, question, seed)
    return {"value": _known(auc_of(scores, asked, question)), "ci95": None if ci95 is None else list(ci95)}


def relative(scores: Scores, asked: Asked) -> Scores:
    """How much more alike two films are than each is to all others of its fold, in the same units in every fold.

    What remains is about the two together. Films that resemble all others, or look as those of patients with many
    films do, would otherwise pass for links: between films of two hospitals, paired at random, that came to AUC .58.
    Nothing is used but scores, so an attacker could do the same.
    """
    beyond = np.full_like(scores, np.nan)
    for number in np.unique(asked.fold):
        here = np.ix_(*[np.flatnonzero(asked.fold == number)] * 2)
        block = scores[here] - np.median(scores[here], axis=1, keepdims=True)
        block = block - np.median(block, axis=0, keepdims=True)
        beyond[here] = block / max(float(block.std()), SAME)
    return beyond


def _first(scores: Scores, asked: Asked, question: Question) -> dict[str, Any]:
    """How often the best match of a fold is a right one, and how often chance would hit it."""
    own = np.eye(len(asked.patients), dtype=bool)
    excluded = asked.one_person & ~own if question == "film" else own
    names = np.arange(len(asked.patients)) if question == "film" else asked.patients
    hits, queries, gallery, chance = 0.0, 0, 0, 0.0
    for number in np.unique(asked.fold):
        rows = np.flatnonzero(asked.fold == number)
        here = np.ix_(rows, rows)
        found = retrieval(scores[here], names[rows], names[rows], excluded[here])
        if found.rank1 is not None:
            right = ((names[rows][:, None] == names[rows][None]) & ~excluded[here]).sum(1)
            among = (~excluded[here]).sum(1)
            hits, queries = hits + found.rank1 * found.queries, queries + found.queries
            gallery += int(among[right > 0].sum())
            chance += float((right / among)[right > 0].sum())
    if not queries:
        return {"rank1": None, "rank1_by_chance": None, "queries": 0, "gallery": None}
    shares = {"rank1": hits / queries, "rank1_by_chance": chance / queries}
    return {**shares, "queries": queries, "gallery": round(gallery / queries)}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def dealt(asked: Asked, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Which film is put in the place of each, at random within its fold.

    Where released films and originals are dealt independently, identities mean nothing any more: every two films are
    as likely to be of one person in the places of a genuine pair as in those of any other. Were only one side dealt,
    who owns many films would still meet themselves.
    """
    order = np.arange(len(asked.fold))
    for number in np.unique(asked.fold):
        rows = np.flatnonzero(asked.fold == number)
        order[rows] = rng.permutation(rows)
    return order


def folds(patients: npt.NDArray[np.int64], number: int, rng: np.random.Generator) -> Asked:
    """Patients spread over folds, so that each has about as many with several films, and as many films."""
    _, owner, films = np.unique(patients, return_inverse=True, return_counts=True)
    order = rng.permutation(len(films))
    of, filled = np.zeros(len(films), dtype=np.int64), np.zeros(number, dtype=np.int64)
    for patient in order[np.argsort(-films[order], kind="stable")]:
        of[patient] = filled.argmin()
        filled[of[patient]] += films[patient]
    return Asked(patients, of[owner])
