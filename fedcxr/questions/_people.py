"""An attack patient by patient: who is always found, what several known films of one person add, who is at risk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import OperatingPoint, verification
from fedcxr.metrics.bootstrap import group_mean_intervals
from fedcxr.metrics.identification import Search
from fedcxr.questions._pairs import Bools, Codes, ScoredPairs, Scores
from fedcxr.rng import stream

QUANTILES = ("0", "0.1", "0.25", "0.5", "0.75", "0.9", "1")  # as text, because they are keys of result.json

PerFilm = npt.NDArray[np.float64]
Trait = tuple[str, str, Bools]  # what it is about, how it is there, and which attacked films have it


@dataclass(frozen=True)
class Recognised:
    """The patients who can be recognised, by number, and how often each is."""

    people: Codes  # (p,)
    films: PerFilm  # (p,) attacked, of those that can be found at all
    first: PerFilm  # (p,) the share of these that are found first
    accepted: PerFilm | None  # (p,) the share of a patient's pairs above the operating point; None: there is none

    @classmethod
    def of(cls, scores: Scores, pairs: ScoredPairs, found: Search, above: float | None) -> Recognised:
        """`above`: what a score must exceed to be accepted, at 1 % false positives."""
        patients, _ = pairs.codes
        genuine = pairs.genuine & pairs.allowed
        own = genuine.sum(axis=1)
        first = np.zeros(len(patients))
        first[pairs.allowed.any(axis=1)] = found.first
        people = np.unique(patients[own > 0])
        films = _sums((own > 0).astype(float), patients)[people]
        accepted = None
        if above is not None:
            hits = (genuine & (scores > above)).sum(axis=1)
            accepted = _sums(hits, patients)[people] / _sums(own, patients)[people]
        return cls(people, films, _sums(first, patients)[people] / films, accepted)

    @property
    def order(self) -> Codes:  # (p,) places
        """The one recognised best, who is the worst off, comes last."""
        return np.lexsort((self.films, self.first, self._accepted))

    @property
    def found_most(self) -> Codes:  # (p,) places
        """Whoever is found first most often comes first: a film beside its match shows that, and no threshold."""
        return np.lexsort((self.films, self._accepted, self.first))[::-1]

    @property
    def _accepted(self) -> PerFilm:
        return self.first if self.accepted is None else self.accepted


def per_patient(scores: Scores, pairs: ScoredPairs, found: Search, point: OperatingPoint | None) -> dict[str, Any]:
    """How the rates are spread over the patients who can be recognised; the one recognised best is the worst off."""
    told = Recognised.of(scores, pairs, found, None if point is None else point.above)
    return {
        "patients": len(told.people),
        "tpr_at_0.01": None if told.accepted is None else quantiles(told.accepted),
        "rank1": quantiles(told.first),
        "always_found": int((told.first >= 1 - 1e-9).sum()),
        "never_found": int((told.first <= 1e-9).sum()),
        "worst": _worst(told, int(told.order[-1])) if len(told.people) else None,
    }


def _worst(told: Recognised, place: int) -> dict[str, Any]:
    rate = None if told.accepted is None else float(told.accepted[place])
    return {"films": int(told.films[place]), "tpr_at_0.01": rate, "rank1": float(told.first[place])}


def quantiles(values: PerFilm) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(QUANTILES)
    return {told: float(np.quantile(values, float(told))) for told in QUANTILES}


def _sums(values: npt.NDArray[Any], codes: npt.NDArray[np.intp]) -> PerFilm:
    return np.bincount(codes, values).astype(np.float64)


def by_person(scores: Scores, pairs: ScoredPairs) -> dict[str, Any]:
    """An attacked film against a person: the highest and the mean score over all films that are known of them."""
    patients, known = pairs.codes
    order = np.argsort(known, kind="stable")
    people, starts = np.unique(known[order], return_index=True)
    if not len(people) or not len(patients):
        return {"people": 0, "maximum": None, "mean": None}
    allowed, given = pairs.allowed[:, order], scores[:, order].astype(np.float64)
    films = np.add.reduceat(allowed, starts, axis=1, dtype=np.intp)
    fused = {
        "maximum": np.maximum.reduceat(np.where(allowed, given, -np.inf), starts, axis=1),
        "mean": np.add.reduceat(np.where(allowed, given, 0.0), starts, axis=1) / np.maximum(films, 1),
    }
    genuine, compared = patients[:, None] == people[None], films > 0
    return {"people": len(people)} | {how: _of_people(own, genuine, compared) for how, own in fused.items()}


def _of_people(scores: npt.NDArray[np.float64], genuine: Bools, compared: Bools) -> dict[str, Any]:
    report = verification(scores[genuine & compared], scores[~genuine & compared])
    rank1 = Search.of(np.where(compared, scores, -np.inf), genuine, compared).rank_curve["1"]
    return {"auc": report.auc, "tpr_at_fpr": report.tpr_at_fpr, "rank1": rank1}


def at_risk(pairs: ScoredPairs, found: Search, seed: int) -> list[dict[str, Any]]:
    """By traits of patients and films, how often the patient is found first, of films whose patient can be."""
    rows = np.flatnonzero(pairs.allowed.any(axis=1))[found.mated]
    patients, first = pairs.codes[0][rows], found.first[found.mated]
    traits = [(trait, how, has[rows]) for trait, how, has in _traits(pairs)]
    groups = np.stack([has for _, _, has in traits], axis=1)
    bounds = group_mean_intervals(first, groups, patients, stream(seed, "bootstrap", "at risk"))
    return [
        {
            "trait": trait,
            "is": how,
            "patients": len(np.unique(patients[has])),
            "films": int(has.sum()),
            "rank1": {"value": float(first[has].mean()), "ci95": None if ends is None else list(ends)},
        }
        for (trait, how, has), ends in zip(traits, bounds, strict=True)
        if has.any()
    ]


def _traits(pairs: ScoredPairs) -> Iterator[Trait]:
    """Few or many films, one device or several, findings nobody else who is attacked shows, view, and hospital."""
    patients, known = pairs.codes
    held = np.bincount(np.concatenate([patients, known] if pairs.across is None else [patients]))
    films, few = held[patients], int(np.median(held[np.unique(patients)]))
    yield "films", f"at most {few}", films <= few
    yield "films", f"more than {few}", films > few
    several = _on_several_devices(pairs)
    yield "devices", "one", ~several
    yield "devices", "several", several
    lone = _lone(pairs)
    yield "findings", "nobody else's", lone
    yield "findings", "others' too", ~lone
    for view in [] if pairs.views is None else np.unique(pairs.views.astype(str)):
        yield "view", str(view), pairs.views == view
    for site in np.unique(pairs.sites):
        yield "site", str(site), pairs.sites == site


def _on_several_devices(pairs: ScoredPairs) -> Bools:  # (n,)
    """Whose films, attacked and known, were made by more than one."""
    patients, known = pairs.codes
    owners, sources = np.concatenate([patients, known]), np.concatenate([pairs.sources, pairs.known_sources])
    _, numbers = np.unique(sources.astype(str), return_inverse=True)
    made = np.unique(np.stack([owners, numbers]), axis=1)
    several: Bools = np.bincount(made[0])[patients] > 1
    return several


def _lone(pairs: ScoredPairs) -> Bools:  # (n,)
    """Which attacked films show a set of findings that no film of another attacked patient shows."""
    owners: defaultdict[bytes, set[int]] = defaultdict(set)
    shown = [row.tobytes() for row in np.nan_to_num(pairs.labels, nan=-1.0)]
    for findings, owner in zip(shown, pairs.codes[0].tolist(), strict=True):
        owners[findings].add(owner)
    return np.array([len(owners[findings]) == 1 for findings in shown], dtype=bool)
