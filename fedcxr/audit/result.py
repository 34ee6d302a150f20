"""Everything an audit has found out, as data: what audit.json holds, and the page and the verdict are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedcxr.audit.ladder import Climbed, Rung
from fedcxr.audit.pairing import Films, Paired, Progress
from fedcxr.audit.scoring import QUESTIONS, SURE, Asked, Question, auc_of, figures, interval_of

SCHEMA = 1
CHANCE_MAY_MISS_BY = 0.05  # how far from .5 an AUC may lie where identities mean nothing
RISEN = 0.01  # by which the last doubling may have raised an AUC that counts as converged
CHECKED = ("pairs", "fused")  # attackers that learn from identities, and so could learn from what is none
# Of every control by itself, so that chance fails one of a hundred audits and not one of a hundred controls.
SURE_OF_ALL = 1 - (1 - SURE) / (len(QUESTIONS) * len(CHECKED))
TOLD: Mapping[str, str] = {
    "correlation": "pixel by pixel",
    "aligned": "pixel by pixel, after small shifts, turns and zooms",
    "registered": "part by part: each looked for in the neighbourhood of its place",
    "form": "sizes, grey levels and how well files pack",
    "phantom": "a network that has seen artificial patients only",
    "originals": "the same, gone on with original films of other patients",
    "pairs": "the same, gone on with original and released films of other patients",
    "fused": "all of these together",
}


@dataclass(frozen=True)
class Worst:
    """The attacker who did best, and what can be said of the figure."""

    attacker: str
    auc: float
    sure: tuple[float, float] | None  # its interval at the level that a conclusion rests on

    @property
    def found(self) -> bool:
        """Whether it is beyond doubt better than chance."""
        return self.sure is not None and self.sure[0] > 0.5


def worst(rungs: Mapping[str, Rung], asked: Asked, question: Question, seed: int) -> Worst:
    """Of all attackers; its interval is a wide one, because the best of several is a little lucky."""
    aucs = {name: auc_of(rung.scores[question], asked, question) for name, rung in rungs.items()}
    name = max(aucs, key=lambda name: aucs[name])
    return Worst(name, aucs[name], interval_of(rungs[name].scores[question], asked, question, seed, SURE))


def answered(climbed: Climbed, question: Question, seed: int, progress: Progress) -> dict[str, Any]:
    """One question: every attacker, the best of them, and how small a success could have been noticed."""
    attackers = []
    for done, (name, rung) in enumerate(climbed.attack.items()):
        progress(f"intervals: {question}", done, len(climbed.attack) + 2)
        found = figures(rung.scores[question], climbed.asked, question, seed)
        attackers.append(
            {"attacker": name, "told": TOLD[name], **found, **_risen(rung, climbed.asked, question, found)}
        )
    best = worst(climbed.attack, climbed.asked, question, seed)
    chance = climbed.shuffled["fused"].scores[question]
    wide = interval_of(chance, climbed.asked, question, seed, SURE)
    progress(f"intervals: {question}", 1, 1)
    return {
        "attackers": attackers,
        "worst_case": {
            "attacker": best.attacker,
            "auc": next(one["auc"] for one in attackers if one["attacker"] == best.attacker),
            "ci99": None if best.sure is None else list(best.sure),
            "found": best.found,
            "converged": next(one["converged"] for one in attackers if one["attacker"] == "pairs"),
        },
        # Half as wide as an interval is where there is nothing to find: less would have passed for chance.
        "smallest_auc": None if wide is None else min(1.0, 0.5 + (wide[1] - wide[0]) / 2),
    }


def _risen(rung: Rung, asked: Asked, question: Question, found: Mapping[str, Any]) -> dict[str, Any]:
    """The curve over steps; whether it has ended nobody can say who does not learn or never left chance."""
    aucs = {steps: auc_of(scores, asked, question) for steps, scores in rung.earlier.items()}
    last = list(aucs.values())[-2:]
    above = found["auc"]["ci95"] is not None and found["auc"]["ci95"][0] > 0.5
    converged = None
    if len(last) > 1 and above:
        converged = bool(last[1] - last[0] < RISEN)
    curve = [{"budget": steps, "auc": _known(value)} for steps, value in aucs.items()]
    return {"curve": curve or None, "converged": converged}


def controls(climbed: Climbed, seed: int, progress: Progress) -> dict[str, Any]:
    """The same attackers where they must succeed, and where they must not."""
    asked, doubts = climbed.asked, []
    progress("intervals: controls", 0, 2)
    best = worst(climbed.originals, asked, "person", seed)
    originals = {
        "attacker": best.attacker,
        "auc": best.auc,
        "ci99": None if best.sure is None else list(best.sure),
        "correlation": _known(auc_of(climbed.originals["correlation"].scores["person"], asked, "person")),
    }
    if not best.found:
        doubts.append(
            f"among the original films themselves nobody found other films of a patient (AUC {best.auc:.2f}): "
            "attackers who fail there prove nothing elsewhere"
        )
    progress("intervals: controls", 1, 2)
    shuffled = []
    for question in QUESTIONS:
        for name in CHECKED:
            scores = climbed.shuffled[name].scores[question]
            value, wide = auc_of(scores, asked, question), interval_of(scores, asked, question, seed, SURE_OF_ALL)
            shuffled.append(
                {"question": question, "attacker": name, "auc": value, "interval": list(wide or ()) or None}
            )
            if abs(value - 0.5) > CHANCE_MAY_MISS_BY and not (wide and wide[0] <= 0.5 <= wide[1]):
                doubts.append(f"with shuffled identities `{name}` reached AUC {value:.2f} instead of chance")
    progress("intervals: controls", 2, 2)
    return {
        "originals": originals,
        "shuffled": shuffled,
        "passed": not doubts,
        "failed_because": "; ".join(doubts) or None,
    }


def resemblance(paired: Paired) -> dict[str, Any]:
    """What the folders have in common as a whole, whoever the films are of."""
    unchanged = (paired.originals == paired.released).all(axis=(1, 2))
    return {"unchanged": int(unchanged.sum()), "mean_film": _known(_alike(paired.originals, paired.released))}


def _alike(originals: Films, released: Films) -> float:
    """The correlation of the two mean films; nan where one of them is blank."""
    first, second = (films.mean(axis=0).ravel() for films in (originals, released))
    if min(first.std(), second.std()) < 1e-6:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
