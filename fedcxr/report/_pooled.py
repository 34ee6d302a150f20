"""Figures of several seeds as one: their mean, and an interval that none of theirs reaches out of."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedcxr.verdict import ended

Figure = Mapping[str, Any]
UNKNOWN = {"value": None, "ci95": None}
TELLING = ("auc", "link_rate", "over_mean_db")  # the first of these that an entry of another question has
SECTIONS = ("attacks", "membership")  # of `privacy`, whose entries have an AUC of people


def pooled(found: Iterable[Figure | None]) -> dict[str, Any]:
    """Of those that are known; the interval is unknown where one of theirs is."""
    known = [one for one in found if one is not None and one["value"] is not None]
    if not known:
        return dict(UNKNOWN)
    ends = [one["ci95"] for one in known if one.get("ci95")]
    span = [min(low for low, _ in ends), max(high for _, high in ends)] if len(ends) == len(known) else None
    return {"value": statistics.fmean(one["value"] for one in known), "ci95": span}


def findings(results: Sequence[Mapping[str, Any]], arm: str) -> dict[str, dict[str, Any]]:
    """Each finding's AUC in one arm."""
    arms = [told[arm] for result in results if (told := result["utility"].get("findings")) and told.get(arm)]
    names = dict.fromkeys(name for one in arms for name in one.get("per_finding", {}))
    return {name: pooled(one.get("per_finding", {}).get(name) for one in arms) for name in names}


def attackers(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each attacker over all runs: held to the worst of its controls, and to every doubt about it."""
    entries: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        for section in SECTIONS:
            for entry in result["privacy"].get(section) or ():
                who = (entry.get("question", "linkage"), entry["adversary"], entry["attacker"])
                entries.setdefault(who, []).append(entry)
    return [_attacker(who, found) for who, found in entries.items()]


def others(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Attackers of all other questions, by the figure that tells most of each."""
    entries: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        for section, listed in result["privacy"].items():
            if isinstance(listed, list) and section not in (*SECTIONS, "recipients"):
                for entry in (one for one in listed if isinstance(one, Mapping) and "attacker" in one):
                    who = (str(entry.get("question", section)), str(entry.get("adversary")), str(entry["attacker"]))
                    entries.setdefault(who, []).append(entry)
    return [_other(who, found) for who, found in entries.items()]


def _other(who: tuple[str, str, str], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    question, adversary, attacker = who
    told = next((name for name in TELLING if all(isinstance(one.get(name), Mapping) for one in found)), None)
    return {
        "question": question,
        "adversary": adversary,
        "attacker": attacker,
        "figure": told,
        **(pooled(one[told] for one in found) if told else UNKNOWN),
        "inconclusive_because": list(dict.fromkeys(reason for one in found for reason in _reasons(one))),
    }


def _reasons(entry: Mapping[str, Any]) -> list[str]:
    """Of the entry, or of what it tells of each attribute."""
    parts = [("", entry), *((f"{name}: ", one) for name, one in (entry.get("attributes") or {}).items())]
    return [f"{about}{one.get('inconclusive_because')}" for about, one in parts if one.get("conclusive") is False]


def _attacker(who: tuple[str, str, str], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    question, adversary, attacker = who
    reasons = dict.fromkeys(str(one.get("inconclusive_because")) for one in found if not one["conclusive"])
    ends = [ended(one) for one in found]
    strong = [one.get("control_raw_auc", one.get("control_overfitted_auc")) for one in found]
    chance = [one.get("control_shuffled_auc", one.get("control_members_auc")) for one in found]
    return {
        "question": question,
        "adversary": adversary,
        "attacker": attacker,
        "runs": len(found),
        "auc": pooled(one["auc"] for one in found),
        "rank1": pooled({"value": one.get("rank1")} for one in found)["value"],
        "at_1_percent": pooled({"value": (one.get("tpr_at_fpr") or {}).get("0.01")} for one in found)["value"],
        "smallest_auc": max((s for one in found if (s := one.get("smallest_auc")) is not None), default=None),
        "control_must_succeed": min((one for one in strong if one is not None), default=None),
        "control_must_be_chance": max((one for one in chance if one is not None), key=_off, default=None),
        "conclusive": not reasons,
        "inconclusive_because": list(reasons),
        "converged": False if False in ends else None if None in ends else True,
        "effort": False if all(one.get("effort") is False for one in found) else None,
        "curve": _curve([one.get("curve") or () for one in found]),
    }


def _curve(curves: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, float]]:
    """The mean at each budget that all runs had."""
    told = [{one["budget"]: one["auc"] for one in curve if one["auc"] is not None} for curve in curves]
    shared = sorted(set(told[0]).intersection(*told[1:])) if told else []
    return [{"budget": budget, "auc": statistics.fmean(one[budget] for one in told)} for budget in shared]


def _off(auc: float) -> float:
    return abs(auc - 0.5)
