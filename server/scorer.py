"""The only reader of the answers: joins an adversary's scores with who is who."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Scores
from fedcxr.metrics import retrieval, verification
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.metrics.label_floor import LabelFloor
from fedcxr.rng import stream

RAW_MUST_REACH = 0.90  # AUC on unprotected films below which an attack proves nothing about a protection
CHANCE_MAY_MISS_BY = 0.05  # how far from .5 an AUC with shuffled identities may lie
DECISION = 0.0  # scores are log-odds at even prior odds


@dataclass(frozen=True)
class Pairs:
    """Every attacked film against every known one, with what only the scorer knows about them."""

    patients: npt.NDArray[np.object_]  # (n,) of the attacked films
    known_patients: npt.NDArray[np.object_]  # (m,)
    sites: npt.NDArray[np.object_]  # (n,) which hospital released them
    sources: npt.NDArray[np.object_]  # (n,)
    known_sources: npt.NDArray[np.object_]  # (m,)
    labels: npt.NDArray[np.float32]  # (n, k)
    known_labels: npt.NDArray[np.float32]  # (m, k)

    @property
    def genuine(self) -> npt.NDArray[np.bool_]:  # (n, m)
        return np.asarray(self.patients[:, None] == self.known_patients[None, :])

    @property
    def same_source(self) -> npt.NDArray[np.bool_]:  # (n, m)
        return np.asarray(self.sources[:, None] == self.known_sources[None, :])


def score_attack(
    attackers: Mapping[str, Mapping[str, Scores]],
    seconds: Mapping[str, float],
    adversary: str,
    pairs: Pairs,
    shuffled: Pairs,
    seed: int,
) -> list[dict[str, Any]]:
    """One entry under `privacy.attacks` per attacker, from its scores on the leak and on both controls.

    `shuffled` are the same pairs of films in the world in which identities mean nothing.
    """
    entries = []
    for attacker, scores in attackers["protected"].items():
        report = verification(scores[pairs.genuine], scores[~pairs.genuine], DECISION)
        impostors = ~pairs.genuine & pairs.same_source
        found = retrieval(scores, pairs.patients, pairs.known_patients)
        raw = _auc(attackers["control_raw"][attacker], pairs)
        lots = attackers["control_shuffled"][attacker]
        chance = _auc(lots, shuffled)
        doubts = _doubts(raw, chance, interval(lots, shuffled, seed))
        entries.append(
            {
                "adversary": adversary,
                "attacker": attacker,
                "auc": {"value": report.auc, "std": None, "runs": 1, "ci95": interval(scores, pairs, seed)},
                **{k: getattr(report, k) for k in ("accuracy", "f1", "precision", "recall", "eer", "tpr_at_fpr")},
                "same_site_auc": verification(scores[pairs.genuine], scores[impostors]).auc,
                "by_site": {site: _auc_of(scores, pairs, pairs.sites == site) for site in np.unique(pairs.sites)},
                "rank1": found.rank1,
                "map_at_r": found.map_at_r,
                "precision_at_1": found.precision_at_1,
                "pairs": {"genuine": report.genuine, "impostor": report.impostors, "queries": found.queries},
                "control_raw_auc": raw,
                "control_shuffled_auc": chance,
                "conclusive": not doubts,
                "inconclusive_because": "; ".join(doubts) or None,
                "seconds": round(sum(seconds.values()), 3),
            }
        )
    return entries


def _auc(scores: Scores, pairs: Pairs) -> float | None:
    return verification(scores[pairs.genuine], scores[~pairs.genuine]).auc


def _auc_of(scores: Scores, pairs: Pairs, rows: npt.NDArray[np.bool_]) -> float | None:
    """Of these attacked films alone, against everybody who is known."""
    genuine = pairs.genuine[rows]
    return verification(scores[rows][genuine], scores[rows][~genuine]).auc


def _doubts(raw: float | None, chance: float | None, chance_ci95: list[float] | None) -> list[str]:
    doubts = []
    if raw is None or raw < RAW_MUST_REACH:
        doubts.append(f"on unprotected films it reaches {_shown(raw)}, below {RAW_MUST_REACH}")
    near = chance is not None and abs(chance - 0.5) <= CHANCE_MAY_MISS_BY
    wide = chance_ci95 is not None and chance_ci95[0] <= 0.5 <= chance_ci95[1]  # with few films, chance itself is
    if not near and not wide:
        doubts.append(f"with shuffled identities it reaches {_shown(chance)} instead of chance")
    return doubts


def _shown(value: float | None) -> str:
    return "no figure" if value is None else f"{value:.3f}"


def interval(scores: Scores, pairs: Pairs, seed: int) -> list[float] | None:
    """95 % interval of the verification AUC, by patients."""
    a, b = np.indices(scores.shape).reshape(2, -1)
    _, codes = np.unique(np.concatenate([pairs.patients, pairs.known_patients]), return_inverse=True)
    bounds = auc_interval(
        scores.ravel(),
        pairs.genuine.ravel(),
        codes[: len(pairs.patients)][a],
        codes[len(pairs.patients) :][b],
        stream(seed, "bootstrap", "attack"),
    )
    return list(bounds) if bounds else None


def worst_case(attacks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The attacker with the highest AUC: a method is as private as its best attacker leaves it."""
    scored = [attack for attack in attacks if attack["auc"]["value"] is not None]
    if not scored:
        return None
    worst = max(scored, key=lambda attack: float(attack["auc"]["value"]))
    return {
        "adversary": worst["adversary"],
        "attacker": worst["attacker"],
        "auc": {"value": worst["auc"]["value"], "ci95": worst["auc"]["ci95"]},
        # A high figure stands whatever the controls say; a low one needs every attacker's controls.
        "conclusive": all(attack["conclusive"] for attack in attacks),
    }


def label_floor(
    pairs: Pairs, labels: npt.NDArray[np.float32], patients: npt.NDArray[np.object_], seed: int
) -> dict[str, Any]:
    """What the findings alone give away: an attacker who sees both films' true labels and no pixel."""
    floor = LabelFloor.fit(labels, patients, stream(seed, "label floor"))
    scores = floor.score(pairs.labels, pairs.known_labels)
    return {"auc": {"value": _auc(scores, pairs), "ci95": interval(scores, pairs, seed)}}
