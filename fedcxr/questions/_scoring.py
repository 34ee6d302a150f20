"""From an attacker's scores of pairs of films to its entry in result.json."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from fedcxr import metrics
from fedcxr.metrics import retrieval, verification
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.metrics.identification import Search
from fedcxr.metrics.paired import Replicates, of_pairs
from fedcxr.metrics.permutation import smallest_auc
from fedcxr.questions import PROTECTED, Answer, Answers, Heard, _rising
from fedcxr.questions._pairs import Bools, ScoredPairs, Scores
from fedcxr.questions._people import at_risk, by_person, per_patient
from fedcxr.questions._trust import trust
from fedcxr.rng import stream
from fedcxr.table import figure

RAW, SHUFFLED = "control_raw", "control_shuffled"
RAW_MUST_REACH = 0.90  # AUC on unprotected films below which an attack proves nothing about a protection
CHANCE_MAY_MISS_BY = 0.05  # how far from .5 an AUC with shuffled identities may lie
DECISION = 0.0  # scores are log-odds at even prior odds

RULE = (
    "smallest_auc: what a guesser stays below in 95 of 100 draws with these films, in each of which patients are taken "
    "for each other. A lower AUC does not tell an attacker from chance."
)


def score_attack(heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
    """One entry per attacker, from its scores in the real attack and in both controls."""
    pairs: ScoredPairs = heard[PROTECTED].key
    seconds = round(sum(one.seconds for one in heard.values()), 3)
    baselines = pairs.baselines
    simple = (None, None) if baselines is None else (auc(baselines.correlation, pairs), auc(baselines.labels, pairs))
    entries = []
    for attacker, answer in heard[PROTECTED].answers.items():
        value, ends = auc(answer["scores"], pairs), interval(answer["scores"], pairs, seed)
        curve = _rising.curve(answer, value, ends, lambda scores: auc(scores, pairs))
        again = auc(answer[_rising.AGAIN], pairs) if _rising.AGAIN in answer else None
        raw = auc(heard[RAW].answers[attacker]["scores"], pairs)
        tested = trust(raw, *simple, runs=(value, again), rising=curve.rising)
        entries.append(
            {
                "attacker": attacker,
                "auc": {"value": value, **_runs(value, again), "ci95": ends},
                **_figures(answer, pairs, seed),
                **_controls(raw, tested, heard[SHUFFLED].answers[attacker], heard[SHUFFLED].key, seed),
                **curve.figures,
                "trust": tested,
                "seconds": seconds,
            }
        )
    return entries


def _runs(value: float | None, again: float | None) -> dict[str, Any]:
    if value is None or again is None:
        return {"std": None, "runs": 1}
    return {"std": statistics.stdev([value, again]), "runs": 2}


def _figures(answer: Answer, pairs: ScoredPairs, seed: int) -> dict[str, Any]:
    """All that is read from the scores of the attack itself."""
    scores = pairs.fair(answer["scores"])
    report = verification(scores[pairs.genuine & pairs.once], scores[~pairs.genuine & pairs.once], DECISION)
    excluded = None if pairs.across is None else ~pairs.allowed
    named = retrieval(scores, pairs.patients, pairs.known_patients, excluded)
    found = Search.of(scores, pairs.genuine, pairs.allowed)
    points = {target: None if point is None else asdict(point) for target, point in report.at_fpr.items()}
    drawn = stream(seed, "permutation", "attack")
    return {
        **{k: getattr(report, k) for k in ("accuracy", "f1", "precision", "recall", "eer", "tpr_at_fpr")},
        "at_fpr": points,
        "same_site_auc": _auc(scores, pairs.genuine, pairs.allowed & (pairs.genuine | pairs.same_source)),
        "by_site": {site: _auc_of(scores, pairs, pairs.sites == site) for site in np.unique(pairs.sites)},
        "rank1": named.rank1,
        "map_at_r": named.map_at_r,
        "precision_at_1": named.precision_at_1,
        "rank_curve": found.rank_curve,
        "open_set": found.open_set,
        "per_patient": per_patient(scores, pairs, found, report.at_fpr["0.01"]),
        "by_person": by_person(scores, pairs),
        "at_risk": at_risk(pairs, found, seed),
        "smallest_auc": smallest_auc(scores, *pairs.codes, drawn, pairs.once),
        "pairs": {"genuine": report.genuine, "impostor": report.impostors, "queries": named.queries},
    }


def _controls(
    raw: float | None, tested: Mapping[str, Any], answer: Answer, shuffled: ScoredPairs, seed: int
) -> dict[str, Any]:
    """`shuffled` are the same pairs of films in the world in which identities mean nothing."""
    chance = auc(answer["scores"], shuffled)
    near = chance is not None and abs(chance - 0.5) <= CHANCE_MAY_MISS_BY
    doubts = _doubts(
        raw, tested["beats_correlation"], chance, None if near else interval(answer["scores"], shuffled, seed)
    )
    return {
        "control_raw_auc": raw,
        "control_shuffled_auc": chance,
        "conclusive": not doubts,
        "inconclusive_because": "; ".join(doubts) or None,
    }


def _doubts(
    raw: float | None, beats_correlation: bool | None, chance: float | None, chance_ci95: list[float] | None
) -> list[str]:
    doubts = []
    if raw is None or raw < RAW_MUST_REACH:
        doubts.append(f"on unprotected films it reaches {_told(raw)}, below {RAW_MUST_REACH}")
    elif beats_correlation is False:
        doubts.append(f"on unprotected films it reaches {_told(raw)}, no more than the correlation of pixels")
    near = chance is not None and abs(chance - 0.5) <= CHANCE_MAY_MISS_BY
    wide = chance_ci95 is not None and chance_ci95[0] <= 0.5 <= chance_ci95[1]  # with few films, chance itself is
    if not near and not wide:
        doubts.append(f"with shuffled identities it reaches {_told(chance)} instead of chance")
    return doubts


def _told(value: float | None) -> str:
    return "no figure" if value is None else figure(value)


def interval(scores: Scores, pairs: ScoredPairs, seed: int) -> list[float] | None:
    """95 % interval of the verification AUC, by patients."""
    scores, (patients, known) = pairs.fair(scores), pairs.codes
    a, b = np.nonzero(pairs.once)
    rng = stream(seed, "bootstrap", "attack")
    bounds = auc_interval(scores[a, b], pairs.genuine[a, b], patients[a], known[b], rng)
    return list(bounds) if bounds else None


def replicates(pairs: ScoredPairs, answers: Answers) -> dict[str, Replicates | None]:
    """Of each attacker's verification AUC, by patients."""
    a, b = np.nonzero(pairs.once)
    both, genuine = np.stack([pairs.codes[0][a], pairs.codes[1][b]]), pairs.genuine[a, b]
    names = np.unique(np.concatenate([pairs.patients, pairs.known_patients]))
    fair = {attacker: pairs.fair(answer["scores"])[a, b] for attacker, answer in answers.items()}
    return {attacker: of_pairs(scores, genuine, both, names) for attacker, scores in fair.items()}


def auc(scores: Scores, pairs: ScoredPairs) -> float | None:
    """Of all pairs that count."""
    return _auc(pairs.fair(scores), pairs.genuine, pairs.once)


def auc_of_rows(scores: Scores, pairs: ScoredPairs, rows: Bools, seed: int) -> dict[str, Any]:
    """Of these attacked films alone, with its interval; unknown where there are none."""
    if not rows.any():
        return {"value": None, "ci95": None}
    of_rows = pairs.of_rows(rows)
    return {"value": auc(scores[rows], of_rows), "ci95": interval(scores[rows], of_rows, seed)}


def _auc_of(scores: Scores, pairs: ScoredPairs, rows: Bools) -> float | None:
    """Of these attacked films alone, against everybody who is known."""
    return _auc(scores[rows], pairs.genuine[rows], pairs.allowed[rows])


def _auc(scores: Scores, genuine: Bools, counted: Bools) -> float | None:
    value = metrics.auc(genuine[counted], scores[counted])
    return None if np.isnan(value) else value
