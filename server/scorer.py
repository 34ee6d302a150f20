"""The only reader of the answers: joins what an adversary answered with who is who."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.simulation.threat import Put, Threat
from fedcxr.verdict import ended
from server.attack import Attack

# Of a question that does not ask how an attacker rose.
UNTOLD: Mapping[str, Any] = {"converged": None, "effort": None, "curve": []}
GUESSED = "its code is from outside, and could have guessed the seed: draw a secret (--fresh-secret)"


def score(threat: Threat, put: Mapping[str, Mapping[str, Put]], attack: Attack) -> dict[str, Any]:
    """An adversary's entries by section of `privacy`, what is drawn of its answers, seconds it took, and its fence.

    Beside them lie replicates of its attackers' figures, by question and attacker.
    """
    replicates: dict[str, dict[str, Any]] = {}
    entries: dict[str, list[dict[str, Any]]] = {}
    shown: dict[str, Mapping[str, Any]] = {}
    seconds = 0.0
    for name in attack.questions:
        if not put[name]:
            continue
        question = threat.scenario.questions[name]
        heard = attack.heard(name, put[name])
        took = sum(one.seconds for one in heard.values())
        seconds += took
        scored = question.score(heard, threat.scenario.root)
        compared = question.replicates(heard)
        replicates[name] = {attacker: one.told() for attacker, one in compared.items() if one is not None}
        drawn = question.shown(heard, scored, threat.scenario.root)
        if drawn is not None:
            shown[name] = drawn
        about = {"question": name, "adversary": attack.name}
        untold = {**UNTOLD, "seconds": round(took, 3)} if question.section == "attacks" else {}
        told = [{**about, **untold, **_doubted(entry, threat, attack)} for entry in scored]
        entries.setdefault(question.section, []).extend(told)
    return {
        "entries": entries,
        "shown": shown,
        "seconds": seconds,
        "fence": attack.fence,
        "replicates": replicates,
    }


def _doubted(entry: dict[str, Any], threat: Threat, attack: Attack) -> dict[str, Any]:
    """A seed has so few values that code from elsewhere could try them all, draw the noise again and subtract it."""
    ours = ":" not in attack.name
    if ours or threat.scenario.secret is not None:
        return entry
    doubts = [entry.get("inconclusive_because"), GUESSED]
    return {**entry, "conclusive": False, "inconclusive_because": "; ".join(filter(None, doubts))}


def worst_case(attacks: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The attacker with the highest AUC: a method is as private as its best attacker leaves it."""
    scored = [attack for attack in attacks if attack["auc"]["value"] is not None]
    if not scored:
        return None
    worst = max(scored, key=lambda attack: float(attack["auc"]["value"]))
    return {
        "question": worst["question"],
        "adversary": worst["adversary"],
        "attacker": worst["attacker"],
        "auc": {"value": worst["auc"]["value"], "ci95": worst["auc"]["ci95"]},
        "converged": worst.get("converged"),
        "effort": worst.get("effort"),
        "lower_bound": ended(worst) is not True or any(_may_pass(attack, worst) for attack in scored),
        # A high figure stands whatever the controls say; a low one needs every attacker's controls.
        "conclusive": all(attack["conclusive"] for attack in attacks),
    }


def _may_pass(attack: Mapping[str, Any], worst: Mapping[str, Any]) -> bool:
    """Whether an attacker that still rises has come so near that it may become the worst case."""
    ends = attack["auc"]["ci95"]
    rising = attack.get("converged") is False and attack["question"] == worst["question"]
    return rising and ends is not None and float(ends[1]) >= float(worst["auc"]["value"])
