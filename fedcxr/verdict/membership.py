"""Who was learnt from, and how sure is that: the rule that makes sentences of attackers' entries in result.json.

A rule for six cases, looked for in this order. *Contradicted*: an attack proves more than the formal guarantee allows.
*Found*: an attacker whose controls held does better than chance beyond doubt. *No conclusion*: nobody does, but an
attacker failed a control, or has no interval. *Open*: all controls held, but the best may do better than `NEAR`. *Not
found*: none of all that. Where no attacker has a figure all is *unknown*. No case is called safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fedcxr.table import share
from fedcxr.verdict import GUESSING, IN_BRACKETS, Figure, inconclusive, times

Entry = Mapping[str, Any]
Level = Literal["unknown", "contradicted", "found", "no conclusion", "open", "not found"]

NEAR = 0.6  # AUC: whoever may reach more has not been shown to be near chance
TOO_FEW = "there are too few patients for an interval"
WHAT_TO_DO = "What to do: give the attackers more shadow models (adversaries.membership.shadows), or use more patients."

HEADLINES: Mapping[Level, str] = {
    "unknown": "Nothing is known: no attacker has a figure.",
    "contradicted": "The formal guarantee does not hold: more is found out than it allows.",
    "found": "Whose films were learnt from can be told from the model that was shared.",
    "no conclusion": "No conclusion about whose films were learnt from.",
    "open": "That somebody tells whose films were learnt from was not shown, and is not ruled out.",
    "not found": "These attackers do not tell whose films were learnt from, which does not prove that nobody can.",
}


def level(entries: Sequence[Entry]) -> Level:
    """The rule above."""
    if any(entry["contradicts_epsilon"] for entry in entries):
        return "contradicted"
    aucs = [Figure.of(entry["auc"]) for entry in entries]
    if all(auc.value is None for auc in aucs):
        return "unknown"
    if any(auc.surely_above(GUESSING) and entry["conclusive"] for auc, entry in zip(aucs, entries, strict=True)):
        return "found"
    if not all(entry["conclusive"] and auc.high is not None for auc, entry in zip(aucs, entries, strict=True)):
        return "no conclusion"
    highest = max(auc.high for auc in aucs if auc.high is not None)
    return "open" if highest > NEAR or any(auc.surely_above(GUESSING) for auc in aucs) else "not found"


def membership(entries: Sequence[Entry]) -> tuple[str, ...]:
    """A headline and the sentences that it rests on."""
    reached = level(entries)
    if reached == "unknown":
        return (HEADLINES[reached],)
    scored = [entry for entry in entries if entry["auc"]["value"] is not None]
    found = [entry for entry in scored if entry["conclusive"] and Figure.of(entry["auc"]).surely_above(GUESSING)]
    broken = [entry for entry in entries if entry["contradicts_epsilon"]]
    best = max(broken or found or scored, key=lambda entry: entry["auc"]["value"] or 0.0)
    return (HEADLINES[reached], *_told(best), *_of_epsilon(entries), *_doubted(entries), _rests_on(best))


def _told(best: Entry) -> list[str]:
    name = f"{best['adversary']}, {best['attacker']}"
    said = [
        f"Of a patient who was learnt from and one who was not, {name} picks the right one in "
        f"{Figure.of(best['auc']).told}; {IN_BRACKETS}."
    ]
    point = best["at_fpr"]["0.01"]
    if point is not None:
        said.append(
            f"Accusing {point['false_positives']} of {best['people']['others']} wrongly, it finds "
            f"{point['true_positives']} of {best['people']['members']} ({share(point['tpr'])})."
        )
    return said


def _of_epsilon(entries: Sequence[Entry]) -> list[str]:
    """The highest bound beside what is guaranteed."""
    proved = [entry for entry in entries if entry["epsilon_at_least"] is not None]
    if not proved:
        return []
    best = max(proved, key=lambda entry: float(entry["epsilon_at_least"]["value"]))
    least, formal = best["epsilon_at_least"], best["epsilon_formal"]
    said = (
        f"Per {least['unit']}, epsilon is at least {least['value']:.2f} (95 % confidence); so few people could have "
        f"shown {least['provable']:.2f} at most."
    )
    if formal is None:
        return [said, "The method guarantees nothing formally."]
    said += f" The method guarantees {formal['epsilon']:g} per {formal['unit'].replace('_', ' ')}"
    return [said + ("." if best["contradicts_epsilon"] is not None else ", which people cannot be compared with.")]


def _doubted(entries: Sequence[Entry]) -> list[str]:
    failed = []
    for entry in entries:
        name, unknown = f"{entry['adversary']}, {entry['attacker']}", entry["auc"]["ci95"] is None
        if not entry["conclusive"]:
            failed.append((name, str(entry["inconclusive_because"])))
        elif unknown:
            failed.append((name, TOO_FEW))
    said = inconclusive(failed)
    return [*said, WHAT_TO_DO] if said else []


def _rests_on(best: Entry) -> str:
    people, film = best["people"], best["film"]
    told = f"{times(film['auc']['value'])} of 100" if film["auc"]["value"] is not None else "an unknown number"
    return (
        f"This rests on {people['members']} patients who were learnt from and {people['others']} who were not; film by "
        f"film, the right one is picked in {told}."
    )
