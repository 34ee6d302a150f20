"""Whose films are these? Every released film against every film of known people: verification and retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedcxr.knowledge import Holding
from fedcxr.metrics import retrieval, verification
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.metrics.label_baseline import LabelBaseline
from fedcxr.questions import PROTECTED, Asked, Heard, Part, Question, Setting, of_the_tested
from fedcxr.rng import stream
from fedcxr.table import Row, Table, figure, share, span
from fedcxr.view import View
from fedcxr.world import Roles, World

Scores = npt.NDArray[np.float32]  # (attacked films, known films): higher means more likely the same patient

RAW, SHUFFLED = "control_raw", "control_shuffled"
RAW_MUST_REACH = 0.90  # AUC on unprotected films below which an attack proves nothing about a protection
CHANCE_MAY_MISS_BY = 0.05  # how far from .5 an AUC with shuffled identities may lie
DECISION = 0.0  # scores are log-odds at even prior odds


@dataclass(frozen=True)
class ScoredPairs:
    """Every attacked film against every known one, with what only the scorer knows about them."""

    patients: npt.NDArray[np.object_]  # (n,) of the attacked films
    known_patients: npt.NDArray[np.object_]  # (m,)
    sites: npt.NDArray[np.object_]  # (n,) which hospital released them
    sources: npt.NDArray[np.object_]  # (n,)
    known_sources: npt.NDArray[np.object_]  # (m,)
    labels: npt.NDArray[np.float32]  # (n, k)
    known_labels: npt.NDArray[np.float32]  # (m, k)

    @classmethod
    def of(cls, world: World, roles: Roles) -> ScoredPairs:
        """What is asked in this world."""
        rows, known = world.rows_of(roles.attacked), np.flatnonzero(roles.known)
        films = world.released.films[rows]
        attacked, others = world.cohort.take(films), world.cohort.take(known)
        return cls(
            patients=world.patients[films],
            known_patients=world.patients[known],
            sites=world.released.sites[rows],
            sources=attacked.index["source"].to_numpy(dtype=object),
            known_sources=others.index["source"].to_numpy(dtype=object),
            labels=attacked.labels,
            known_labels=others.labels,
        )

    @property
    def genuine(self) -> npt.NDArray[np.bool_]:  # (n, m)
        return np.asarray(self.patients[:, None] == self.known_patients[None, :])

    @property
    def same_source(self) -> npt.NDArray[np.bool_]:  # (n, m)
        return np.asarray(self.sources[:, None] == self.known_sources[None, :])


class Linkage(Question):
    """Whose films are these?

    The people of the test split are attacked; all others are the adversary's own.

    `control_raw` is the same attack on unprotected films: it must succeed. `control_shuffled` is the same attack in a
    world where identities mean nothing: it must be at chance.
    """

    knows: ClassVar[tuple[str, ...]] = (
        "own_films",
        "known_films",
        "mechanism",
        "keys",
        "releases",
        "demographics",
    )

    def settings(self, world: World) -> Mapping[str, Setting]:
        return {
            PROTECTED: Setting(world),
            RAW: Setting(world.unprotected()),
            SHUFFLED: Setting(world.shuffled(), smoke=True),  # it fails at any budget
        }

    def roles(self, world: World) -> Roles:
        return of_the_tested(world)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        attacked = world.rows_of(roles.attacked)
        if not attacked.any():
            return None
        shape = (int(attacked.sum()), int(roles.known.sum()))
        return Asked(view.take(attacked), {"scores": Part(shape, np.float32)}, ScoredPairs.of(world, roles))

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        scores = {name: {a: answer["scores"] for a, answer in one.answers.items()} for name, one in heard.items()}
        seconds = sum(one.seconds for one in heard.values())
        return score_attack(scores, seconds, heard[PROTECTED].key, heard[SHUFFLED].key, seed)

    def beside(self, key: Any, world: World, roles: Roles) -> dict[str, Any]:
        others = world.cohort.take(~world.tested)  # whichever the adversary owns
        return {"label_floor": label_baseline(key, others.labels, others.patients, world.seed)}

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table:
        worst, floor = privacy["worst_case"], privacy["label_floor"]
        rows = [
            Row(
                f"{entry['adversary']}, {entry['attacker']}{' (worst case)' if _same(worst, entry) else ''}",
                (
                    figure(entry["auc"]["value"]),
                    span(entry["auc"]["ci95"]),
                    figure(entry["same_site_auc"]),
                    share(entry["rank1"]),
                    share(entry["tpr_at_fpr"]["0.01"]),
                    figure(entry["control_raw_auc"]),
                    figure(entry["control_shuffled_auc"]),
                ),
                "" if entry["conclusive"] else "inconclusive",
            )
            for entry in entries
        ]
        if floor:
            figures = (figure(floor["auc"]["value"]), span(floor["auc"]["ci95"]))
            rows.append(Row("from the findings alone", figures))
        return Table(
            "Who can be re-identified",
            ("AUC", "95 % interval", "same site", "rank 1", "at 1 % FPR", "raw", "shuffled"),
            tuple(rows),
            ("raw and shuffled are controls, to be near 1 and .5",),
        )


def score_attack(
    attackers: Mapping[str, Mapping[str, Scores]], seconds: float, pairs: ScoredPairs, shuffled: ScoredPairs, seed: int
) -> list[dict[str, Any]]:
    """One entry per attacker, from its scores in the real attack and in both controls.

    `shuffled` are the same pairs of films in the world in which identities mean nothing.
    """
    entries = []
    for attacker, scores in attackers[PROTECTED].items():
        report = verification(scores[pairs.genuine], scores[~pairs.genuine], DECISION)
        impostors = ~pairs.genuine & pairs.same_source
        found = retrieval(scores, pairs.patients, pairs.known_patients)
        raw = _auc(attackers[RAW][attacker], pairs)
        drawn = attackers[SHUFFLED][attacker]
        chance = _auc(drawn, shuffled)
        doubts = _doubts(raw, chance, interval(drawn, shuffled, seed))
        entries.append(
            {
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
                "seconds": round(seconds, 3),
            }
        )
    return entries


def label_baseline(
    pairs: ScoredPairs, labels: npt.NDArray[np.float32], patients: npt.NDArray[np.object_], seed: int
) -> dict[str, Any]:
    """What the findings alone give away: an attacker who sees both films' true labels and no pixel."""
    floor = LabelBaseline.fit(labels, patients, stream(seed, "label floor"))
    scores = floor.score(pairs.labels, pairs.known_labels)
    return {"auc": {"value": _auc(scores, pairs), "ci95": interval(scores, pairs, seed)}}


def interval(scores: Scores, pairs: ScoredPairs, seed: int) -> list[float] | None:
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


def _auc(scores: Scores, pairs: ScoredPairs) -> float | None:
    return verification(scores[pairs.genuine], scores[~pairs.genuine]).auc


def _auc_of(scores: Scores, pairs: ScoredPairs, rows: npt.NDArray[np.bool_]) -> float | None:
    """Of these attacked films alone, against everybody who is known."""
    genuine = pairs.genuine[rows]
    return verification(scores[rows][genuine], scores[rows][~genuine]).auc


def _doubts(raw: float | None, chance: float | None, chance_ci95: list[float] | None) -> list[str]:
    doubts = []
    if raw is None or raw < RAW_MUST_REACH:
        doubts.append(f"on unprotected films it reaches {_told(raw)}, below {RAW_MUST_REACH}")
    near = chance is not None and abs(chance - 0.5) <= CHANCE_MAY_MISS_BY
    wide = chance_ci95 is not None and chance_ci95[0] <= 0.5 <= chance_ci95[1]  # with few films, chance itself is
    if not near and not wide:
        doubts.append(f"with shuffled identities it reaches {_told(chance)} instead of chance")
    return doubts


def _told(value: float | None) -> str:
    return "no figure" if value is None else figure(value)


def _same(worst: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> bool:
    return worst is not None and all(worst[who] == entry[who] for who in ("adversary", "attacker"))
