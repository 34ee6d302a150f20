"""From an attacker's scores of films to its entry in result.json: film by film, patient by patient, and as epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr import metrics
from fedcxr.learning import Guarantee
from fedcxr.metrics import Bools, Verification, verification
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.metrics.epsilon import Bound, epsilon_at_least, halves
from fedcxr.metrics.paired import Replicates, of_pairs
from fedcxr.questions import PROTECTED, Answer, Answers, Heard
from fedcxr.questions._rising import effortless
from fedcxr.questions._told_apart import ToldApart
from fedcxr.rng import stream
from fedcxr.table import figure

OVERFITTED = "control_overfitted"
MUST_REACH = 0.80  # AUC on a model that knows films by heart, below which an attack proves nothing about another
CHANCE_MAY_MISS_BY = 0.05  # how far from .5 an AUC of members against members may lie
CONFIDENCE = 0.95  # of a bound on epsilon, for all attackers of an adversary together
PATIENT, RECORD = "patient", "record"

RULE = (
    "membership: a patient scores what the films do on average; maximum_of_films is by the film that scores highest. "
    "epsilon_at_least is proved with 95 % confidence for all attackers of an adversary together, from a test that was "
    "chosen on one half of the people and taken on the other; it is per patient, or per film of those who have one, "
    "as the method's guarantee is. A guarantee of less is contradicted."
)

Scores = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Truth:
    """Who was a member, of the films that are asked about, and what the method guarantees."""

    member: Bools  # (n,)
    people: npt.NDArray[np.int64]  # (n,) 0, 1, ... p - 1
    labels: npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN
    guarantee: Guarantee | None
    names: npt.NDArray[np.object_] | None = None  # (n,) whose each film is; None: nobody compares with other runs

    @property
    def patients(self) -> Bools:  # (p,)
        """Which people are members: somebody is with all films, or with none."""
        member: Bools = np.zeros(len(self.films), dtype=np.bool_)
        member[self.people[self.member]] = True
        return member

    @property
    def films(self) -> npt.NDArray[np.intp]:  # (p,)
        """How many films each has."""
        return np.bincount(self.people)

    def highest(self, scores: Scores) -> Scores:  # (p,)
        """What the film of each person scores that scores highest."""
        found = np.full(len(self.films), -np.inf)
        np.maximum.at(found, self.people, scores)
        return found

    def mean(self, scores: Scores) -> Scores:  # (p,)
        """What the films of each person score on average."""
        return np.bincount(self.people, weights=scores) / self.films

    def in_unit(self, scores: Scores, unit: str) -> tuple[Scores, Bools]:
        """Scores and membership of those on whom a bound on epsilon per patient, or per film, is proved.

        Films of one person stand or fall together, so that per film those alone count who have no other.
        """
        scores, member = self.mean(scores), self.patients
        alone = self.films == 1 if unit == RECORD else np.ones(len(member), dtype=np.bool_)
        return scores[alone], member[alone]


def score_attack(heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
    """One entry per attacker, from its scores in the real attack and of the model that knows films by heart."""
    truth: Truth = heard[PROTECTED].key
    control: Truth = heard[OVERFITTED].key
    answers, seconds = heard[PROTECTED].answers, round(sum(one.seconds for one in heard.values()), 3)
    blind = _blind(truth, seed)
    entries = []
    for attacker, answer in answers.items():
        by_heart = heard[OVERFITTED].answers[attacker]["scores"]
        caught = _value(metrics.auc(control.patients, control.mean(by_heart)))
        controls = {"control_overfitted_auc": caught, **_among_members(truth, answer["scores"], seed), **blind}
        bound = _epsilon(truth, answer["scores"], seed, len(answers))
        doubts = [*_doubts(controls), *_contradiction(bound)]
        entries.append(
            {
                "attacker": attacker,
                **_figures(truth, answer, seed),
                **{name: told for name, told in controls.items() if not name.endswith("_ends")},
                **bound,
                "conclusive": not doubts,
                "inconclusive_because": "; ".join(doubts) or None,
                "converged": None,  # nobody asks whether more shadow models than these would tell more
                "effort": False if effortless(answer) else None,
                "seconds": seconds,
            }
        )
    return entries


def replicates(truth: Truth, answers: Answers) -> dict[str, Replicates | None]:
    """Of each attacker's AUC by patients."""
    if truth.names is None:
        return {}
    _, first = np.unique(truth.people, return_index=True)  # somebody's number is a place among all people
    names, people = np.unique(truth.names[first], return_inverse=True)
    pairs, member = np.stack([people, people]), truth.patients
    return {name: of_pairs(truth.mean(answer["scores"]), member, pairs, names) for name, answer in answers.items()}


def _figures(truth: Truth, answer: Answer, seed: int) -> dict[str, Any]:
    """All that is read from the scores of the attack itself."""
    scores, member = answer["scores"], truth.patients
    everybody = np.arange(len(member))
    highest, mean = truth.highest(scores), truth.mean(scores)
    auc = _auc(mean, member, everybody, seed)
    half = answer.get("half")
    curve = [] if half is None else [{"budget": 0.5, "auc": _value(metrics.auc(member, truth.mean(half)))}]
    return {
        "auc": auc,
        "accuracy": _accuracy(mean, member, seed),
        **_rates(verification(mean[member], mean[~member])),
        "people": {"members": int(member.sum()), "others": int((~member).sum())},
        "maximum_of_films": {
            "auc": _auc(highest, member, everybody, seed),
            **_rates(verification(highest[member], highest[~member])),
        },
        "film": {
            "auc": _auc(scores, truth.member, truth.people, seed),
            **_rates(verification(scores[truth.member], scores[~truth.member])),
            "members": int(truth.member.sum()),
            "others": int((~truth.member).sum()),
        },
        "per_patient": ToldApart.of_films([(scores, truth.member.astype(float))], truth.people).told(),
        "curve": [*curve, {"budget": 1.0, "auc": auc["value"]}] if curve else [],  # by shadow models
    }


def _auc(scores: Scores, member: Bools, people: npt.NDArray[Any], seed: int) -> dict[str, Any]:
    value = _value(metrics.auc(member, scores))
    return {"value": value, "std": None, "runs": 1, "ci95": _interval(scores, member, people, seed)}


def _interval(
    scores: Scores, member: Bools, people: npt.NDArray[Any], seed: int, level: float = 0.95
) -> list[float] | None:
    """By patients."""
    drawn = stream(seed, "bootstrap", "membership")
    bounds = auc_interval(scores, member, people, people, drawn, level=level)
    return list(bounds) if bounds else None


def _value(auc: float) -> float | None:
    return None if np.isnan(auc) else auc


def _rates(report: Verification) -> dict[str, Any]:
    points = {target: None if point is None else asdict(point) for target, point in report.at_fpr.items()}
    return {"tpr_at_fpr": report.tpr_at_fpr, "at_fpr": points}


def _accuracy(scores: Scores, member: Bools, seed: int) -> float | None:
    """Balanced, of a threshold that was chosen on one half of the people and taken on the other."""
    if min(member.sum(), (~member).sum()) < 2:
        return None
    rng = stream(seed, "membership", "threshold")
    (ours, taken), (theirs, others) = halves(scores[member], rng), halves(scores[~member], rng)
    levels = np.unique(np.concatenate([ours, theirs]))
    hit, wrong = (1 - np.searchsorted(np.sort(one), levels, "left") / len(one) for one in (ours, theirs))
    threshold = levels[int(np.argmax(hit - wrong))]
    return float(((taken >= threshold).mean() + 1 - (others >= threshold).mean()) / 2)


# Controls -------------------------------------------------------------------------------------------------------------


def _among_members(truth: Truth, scores: Scores, seed: int) -> dict[str, Any]:
    """Members against members, divided at random."""
    members = np.flatnonzero(truth.patients)
    one = np.zeros(len(members), dtype=np.bool_)
    one[stream(seed, "membership", "halves").permutation(len(members))[: len(members) // 2]] = True
    own = truth.mean(scores)[members]
    return {
        "control_members_auc": _value(metrics.auc(one, own)),
        "control_members_ends": _interval(own, one, members, seed),
    }


def _blind(truth: Truth, seed: int) -> dict[str, Any]:
    """How well members are told from others without any model, by how many films or how many findings somebody has."""
    member, everybody = truth.patients, np.arange(len(truth.films))
    known = [truth.films.astype(np.float64), truth.mean(np.nansum(truth.labels, axis=1))]
    farthest = max(known, key=lambda one: abs(np.nan_to_num(metrics.auc(member, one), nan=0.5) - 0.5))
    return {
        "control_blind_auc": _value(metrics.auc(member, farthest)),
        "control_blind_ends": _interval(farthest, member, everybody, seed, level=0.99),
    }


def _doubts(controls: Mapping[str, Any]) -> list[str]:
    doubts, caught = [], controls["control_overfitted_auc"]
    if caught is None or caught < MUST_REACH:
        doubts.append(f"on a model that knows films by heart it reaches {figure(caught)}, below {MUST_REACH}")
    if not _at_chance(controls["control_members_auc"], controls["control_members_ends"]):
        doubts.append(f"between members and members it reaches {figure(controls['control_members_auc'])}, not chance")
    if not _at_chance(controls["control_blind_auc"], controls["control_blind_ends"]):
        doubts.append(
            f"how many films or findings somebody has reaches {figure(controls['control_blind_auc'])} without any "
            "model: members are not like others"
        )
    return doubts


def _at_chance(value: float | None, ends: list[float] | None) -> bool:
    near = value is not None and abs(value - 0.5) <= CHANCE_MAY_MISS_BY
    return near or (ends is not None and ends[0] <= 0.5 <= ends[1])  # with few people, chance itself is wide


# Epsilon --------------------------------------------------------------------------------------------------------------


def _epsilon(truth: Truth, scores: Scores, seed: int, attackers: int) -> dict[str, Any]:
    """What the answers prove of epsilon, in the unit of the method's guarantee if people can be counted in that."""
    formal = truth.guarantee
    comparable = formal is not None and formal.unit in (PATIENT, RECORD)
    unit, delta = (formal.unit, formal.delta) if formal is not None and comparable else (PATIENT, 0.0)
    counted, member = truth.in_unit(scores, unit)
    confidence = 1 - (1 - CONFIDENCE) / attackers  # one of several is bound to look good
    rng = stream(seed, "membership", "epsilon")
    bound: Bound | None = epsilon_at_least(counted[member], counted[~member], delta, rng, confidence)
    told = None if bound is None else {**asdict(bound), "confidence": CONFIDENCE, "unit": unit}
    return {
        "epsilon_at_least": told,
        "epsilon_formal": None if formal is None else formal.model_dump(),
        "contradicts_epsilon": None
        if formal is None or bound is None or not comparable
        else bound.value > formal.epsilon,
    }


def _contradiction(told: Mapping[str, Any]) -> list[str]:
    if not told["contradicts_epsilon"]:
        return []
    least, formal = told["epsilon_at_least"], told["epsilon_formal"]
    return [
        f"so many are told apart that epsilon is at least {least['value']:.2f} per {least['unit']}, and the method "
        f"guarantees {formal['epsilon']:g}: its accounting is wrong, or it does not do what it says"
    ]
