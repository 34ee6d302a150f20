"""One measure over a policy's seeds: who was strongest, by how much more than its control, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedcxr.report._measures import NO_FIGURE, NOTHING_OF_THE_KIND, Measure
from fedcxr.report._residual import Residual, over_seeds, residual
from fedcxr.report._sightings import BLIND, Result, Sighting, Spread, entries
from fedcxr.verdict import Figure

NOT_PER_PATIENT = "results hold no figure of single patients for this attack"
COUNTED = "this is counted and no attack: there is no control to measure it against"


@dataclass(frozen=True)
class Attacker:
    """One attacker in all runs in which it has a figure."""

    seen: Sequence[Sighting]

    @property
    def attack(self) -> Figure:
        return over_seeds([one.attack for one in self.seen])

    @property
    def control(self) -> float | None:
        return over_seeds([Figure(one.control) for one in self.seen]).value

    @property
    def held(self) -> bool:
        return all(one.held for one in self.seen)

    @property
    def doubt(self) -> str | None:
        failed = [one for one in self.seen if not one.held]
        if not failed:
            return None
        where = "" if len(self.seen) == 1 else f" (with {len(failed)} of {len(self.seen)} seeds)"
        return f"it is inconclusive{where}: {failed[0].doubt}"

    @property
    def residual(self) -> Residual:
        if self.seen[0].against == "none":
            return Residual.refused(COUNTED)
        if not self.held:
            return Residual.refused(str(self.doubt))
        gains = [one.gain for one in self.seen if one.gain is not None]
        return residual(self.attack, self.control, over_seeds(gains) if len(gains) == len(self.seen) else None)

    @property
    def rank(self) -> tuple[bool, bool, bool, float]:
        """Whom a measure is told of: the strongest of those that prove something."""
        looks = self.seen[0].attacker not in BLIND
        return looks, self.residual.value is not None, self.held, self.attack.value or 0.0


def judged(measure: Measure, results: Sequence[Result]) -> dict[str, Any]:
    """As it stands in dpia.json; what was not measured is said, with the reason, and has no figure."""
    by_whom: dict[tuple[str, str], list[Sighting]] = {}
    for result in results:
        for one in measure.seen(result):
            by_whom.setdefault(one.who, []).append(one)
    attackers = [Attacker(seen) for seen in by_whom.values()]
    about = {"measure": measure.name, **{name: getattr(measure, name) for name in ("criterion", "question", "says")}}
    if not any(one.attack.value is not None for one in attackers):
        return {**about, **_nothing(_why_not(measure, results, bool(attackers)))}
    best = max(attackers, key=lambda one: one.rank)
    first, left = best.seen[0], best.residual
    higher = [one for one in attackers if not one.held and (one.attack.value or 0) > (best.attack.value or 0)]
    return {
        **about,
        "measured": True,
        "unknown_because": None,
        "attack": {**_named(first), **_told(best.attack)},
        "control": {"against": first.against, "value": best.control},
        "residual": left.told(),
        "patients": _patients(best, left),
        "lower_bound": _lower_bound(best, attackers),
        "controls_held": best.held,
        "doubt": best.doubt,
        "higher_but_doubtful": [{**_named(one.seen[0]), **_told(one.attack), "doubt": one.doubt} for one in higher],
        "attackers": len(attackers),
        "seeds": [{"seed": one.seed, **_told(one.attack), **one.beside} for one in best.seen],
    }


def _nothing(because: str) -> dict[str, Any]:
    unknown: Mapping[str, Any] = dict.fromkeys(
        ("attack", "control", "residual", "patients", "lower_bound", "controls_held", "doubt")
    )
    found = {"higher_but_doubtful": [], "attackers": 0, "seeds": []}
    return {"measured": False, "unknown_because": because, **unknown, **found}


def _why_not(measure: Measure, results: Sequence[Result], attacked: bool) -> str:
    """In words; unknown is not good news."""
    unmeasured = [why for one in results if (why := one.get("unmeasured", {}).get("privacy.attacks")) is not None]
    if unmeasured:
        return f"nobody attacked: {unmeasured[0]}"
    asked = [one for result in results if (one := result["scenario"]["questions"].get(measure.question)) is not None]
    if not asked:
        return f"not asked: the scenario has no question {measure.question}"
    if not any(result["scenario"]["adversaries"] for result in results):
        return "nobody attacked: the scenario has no adversary"
    if attacked:
        return NO_FIGURE
    if measure.across is not None:
        elsewhere = all((one.get("across") == "sites") is not measure.across for one in asked)
        return measure.otherwise if elsewhere else NOTHING_OF_THE_KIND
    answered = any(one["question"] == measure.question for result in results for one in entries(result))
    return measure.otherwise if answered else NOTHING_OF_THE_KIND


def _patients(best: Attacker, left: Residual) -> dict[str, Any]:
    """On average, and the patient who is worst off; over seeds the worst of each."""
    average = _told(best.attack) | {"residual": left.value}
    spreads = [one.spread for one in best.seen if one.spread is not None]
    people = [one.people for one in best.seen if one.people is not None]
    people = [one.patients for one in spreads if one.patients is not None] or people
    told = {"of": min(people, default=None), "average": average}
    if not spreads:
        nothing = dict.fromkeys(("what", "quantiles", "worst", "always_found", "never_found"))
        return {**told, **nothing, "unknown_because": NOT_PER_PATIENT}
    return {
        **told,
        "what": spreads[0].what,
        "quantiles": {name: _highest([one.quantiles[name] for one in spreads]) for name in spreads[0].quantiles},
        "worst": {"value": _highest([one.worst for one in spreads]), "residual": _worst(spreads, left)},
        "always_found": _highest([one.always_found for one in spreads]),
        "never_found": _highest([one.never_found for one in spreads]),
        "unknown_because": None,
    }


def _worst(spreads: Sequence[Spread], left: Residual) -> float | None:
    """Of the patient who is worst off, without an interval: of so many, one may be found often by luck."""
    worst, controls = _highest([one.worst for one in spreads]), [one.control for one in spreads]
    control = over_seeds([Figure(one) for one in controls]).value
    if left.value is None or worst is None or control is None or control >= 1 or worst <= control:
        return None
    return float((worst - control) / (1 - control))


def _lower_bound(best: Attacker, attackers: Sequence[Attacker]) -> bool:
    """Whether an attacker had not stopped rising, or nobody asked whether it had."""
    if not all(one.converged for one in best.seen):
        return True
    reached = best.attack.value or 0.0
    return any(one.converged is False and (one.attack.high or 1.0) >= reached for a in attackers for one in a.seen)


def _named(one: Sighting) -> dict[str, str]:
    return {"adversary": one.adversary, "attacker": one.attacker}


def _told(found: Figure) -> dict[str, Any]:
    return {"value": found.value, "ci95": None if found.low is None or found.high is None else [found.low, found.high]}


def _highest(values: Sequence[Any]) -> Any:
    return max((one for one in values if one is not None), default=None)
