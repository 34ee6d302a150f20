"""Results written by hand, as far as an assessment reads them; their figures are nobody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Told = dict[str, Any]


def figure(value: float | None, low: float | None = None, high: float | None = None) -> Told:
    return {"value": value, "ci95": None if low is None else [low, high]}


def linking(
    auc: Told, attacker: str = "retrained", question: str = "linkage", rank1: float = 0.5, **changes: Any
) -> Told:
    """An attacker that is asked whose films these are: of 20 released films, 10 of which have one known film of 10."""
    quantiles = {"0": 0.0, "0.5": 0.5, "1": 1.0}
    usual: Told = {
        "question": question,
        "adversary": "verifier",
        "attacker": attacker,
        "auc": auc,
        "tpr_at_fpr": {"0.01": 0.25},
        "same_site_auc": 0.7,
        "rank1": rank1,
        "open_set": {"mated": 10, "unknown": 10},
        "pairs": {"genuine": 10, "impostor": 190, "queries": 10},
        "at_risk": [
            {"trait": "films", "is": "at most 1", "patients": 5, "films": 5, "rank1": figure(rank1, 0.3, 0.6)},
            {"trait": "films", "is": "more than 1", "patients": 3, "films": 5, "rank1": figure(rank1, 0.3, 0.6)},
            {"trait": "findings", "is": "nobody else's", "patients": 2, "films": 4, "rank1": figure(rank1)},
            {"trait": "findings", "is": "others' too", "patients": 6, "films": 6, "rank1": figure(rank1)},
        ],
        "per_patient": {
            "patients": 8,
            "tpr_at_0.01": quantiles,
            "rank1": quantiles,
            "always_found": 2,
            "never_found": 3,
            "worst": {"films": 2, "tpr_at_0.01": 1.0, "rank1": 1.0},
        },
        "trust": {"labels_auc": 0.6, "reasons": []},
        "conclusive": True,
        "inconclusive_because": None,
        "converged": True,
    }
    return usual | changes


def telling(auc: Told, attacker: str = "lira", **changes: Any) -> Told:
    """An attacker that is asked whose films a model was learnt from."""
    usual: Told = {
        "question": "membership",
        "adversary": "membership",
        "attacker": attacker,
        "auc": auc,
        "at_fpr": {"0.01": {"tpr": 0.1}},
        "people": {"members": 40, "others": 40},
        "epsilon_at_least": None,
        "contradicts_epsilon": None,
        "conclusive": True,
        "inconclusive_because": None,
        "converged": None,
    }
    return usual | changes


def of_people(attributes: Mapping[str, Told], **changes: Any) -> Told:
    usual: Told = {
        "question": "attributes",
        "adversary": "attributes",
        "attacker": "network",
        "films": 30,
        "attributes": dict(attributes),
        "converged": None,
    }
    return usual | changes


def attribute(auc: Told, alone: Told, over: Told, conclusive: bool = True) -> Told:
    because = None if conclusive else "too few films with it, or without it"
    return {
        "auc": auc,
        "labels_alone": alone,
        "over_labels": over,
        "known": 30,
        "conclusive": conclusive,
        "inconclusive_because": because,
    }


def result(
    seed: int = 0,
    floor: float | None = None,
    recipients: Sequence[Told] | None = None,
    access: Told | None = None,
    formal: Told | None = None,
    knowledge: Told | None = None,
    method: Told | None = None,
    **sections: Sequence[Told],
) -> Told:
    """Of a scenario that asks what there are answers to."""
    asked: Told = {entry["question"]: {} for entries in sections.values() for entry in entries}
    return {
        "schema": 1,
        "run": {"id": "noise-0123", "method": "noise", "seed": seed},
        "scenario": {
            "name": "hand",
            "method": method or {"name": "noise", "scale": 0.1},
            "questions": asked or {"linkage": {}},
            "adversaries": {"verifier": {}},
            "knowledge": {"mechanism": True, "demographics": False, "releases": 1, "keys": 0, "updates": "model"}
            | (knowledge or {}),
        },
        "sites": [{"name": "site-1", "patients": 8, "released": 20, "status": "ok"}],
        "access": access,
        "privacy": {
            "attacks": [],
            **{name: list(entries) for name, entries in sections.items()},
            "label_floor": None if floor is None else {"auc": figure(floor, floor - 0.1, floor + 0.1)},
            "recipients": None if recipients is None else list(recipients),
            "formal": formal,
        },
    }
