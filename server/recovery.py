"""How much of a film an adversary recovered from its code: its guesses against the films and codes themselves.

As the scorer, this reads the answers, and runs in the coordinator's process only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Guess, Scores, _support
from fedcxr.codes import Codes
from fedcxr.methods._coded import CodeMethod
from fedcxr.metrics import auc
from fedcxr.metrics.bootstrap import auc_interval, mean_interval
from fedcxr.metrics.similarity import similarity
from fedcxr.protocol import workshop_of
from fedcxr.release import AnswerKey, Release
from fedcxr.rng import stream
from fedcxr.simulation.threat import Threat

PerFilm = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Truth:
    """The attacked films as they were, and whose they are."""

    films: npt.NDArray[np.uint8]  # (n, h, w)
    codes: Codes  # (n, c, h, w)
    patients: npt.NDArray[np.object_]  # (n,)
    mean: npt.NDArray[np.uint8]  # (h, w) of the adversary's own films
    method: CodeMethod
    paired: npt.NDArray[np.object_]  # (k,) whose the films are that the adversary has both film and code of

    @classmethod
    def of(
        cls, threat: Threat, answers: AnswerKey, releases: Sequence[Release], learnt: Release | None
    ) -> Truth | None:
        """None where no codes were released."""
        method, cohort = threat.scenario.method, threat.cohort
        if not isinstance(method, CodeMethod):
            return None
        table = answers.table[answers.table["attacked"]]
        codes = []
        for release in releases:
            rows = table.loc[table["site"] == release.site, "film"].to_numpy()
            workshop = workshop_of(threat.scenario, release.site, None)
            codec = method.codec(learnt.weights if learnt is not None else release.weights, workshop)
            codes += [codec.encode(cohort.films(rows))] if len(rows) else []
        rows = table["film"].to_numpy()
        mean = np.round(threat.experiment.others.films().mean(axis=0)).astype(np.uint8)
        paired = cohort.patients[answers.table["film"].to_numpy()[threat.paired(releases)]]
        return cls(cohort.films(rows), np.concatenate(codes), cohort.patients[rows], mean, method, paired)


def score_recovery(guesses: Mapping[str, Guess], adversary: str, truth: Truth, seed: int) -> list[dict[str, Any]]:
    """One entry under `privacy.recovery` per attacker."""
    mean = np.broadcast_to(truth.mean, truth.films.shape)
    usual = similarity(truth.films, mean)["psnr"]
    entries = []
    for attacker, guess in guesses.items():
        scores = guess.support.astype(np.float32)
        seen = similarity(truth.films, guess.pictures)
        per_film: dict[str, PerFilm] = {
            "support_auc": np.array(
                [auc((c != 0).ravel(), own.ravel()) for c, own in zip(truth.codes, scores, strict=True)]
            ),
            "recovered": _support.recovered(scores, truth.codes, truth.method.s, truth.method.together),
            "psnr": seen["psnr"],
            "ssim": seen["ssim"],
            "over_mean_db": seen["psnr"] - usual,
            "link_rate": _support.best_match(guess.pictures, truth.films).astype(np.float64),
        }
        figures = {name: _figure(values, truth.patients, seed) for name, values in per_film.items()}
        entries.append({"adversary": adversary, "attacker": attacker, "films": len(truth.films), **figures})
    return entries


def _figure(per_film: PerFilm, patients: npt.NDArray[np.object_], seed: int) -> dict[str, Any]:
    """The mean over films that have the figure: an exact copy has no PSNR, a tiny film no SSIM."""
    known = np.isfinite(per_film)
    if not known.any():
        return {"value": None, "ci95": None}
    bounds = mean_interval(per_film[known], patients[known], stream(seed, "bootstrap", "recovery"))
    return {"value": float(per_film[known].mean()), "ci95": list(bounds) if bounds else None}


def score_same_film(
    alike: Mapping[str, Scores], adversary: str, patients: npt.NDArray[np.object_], seed: int
) -> list[dict[str, Any]]:
    """One entry under `privacy.same_film` per attacker: is this the release of a film that one holds?"""
    entries = []
    for attacker, scores in alike.items():
        own = np.eye(len(scores), dtype=bool).ravel()
        a, b = np.indices(scores.shape).reshape(2, -1)
        bounds = auc_interval(scores.ravel(), own, patients[a], patients[b], stream(seed, "bootstrap", "same film"))
        value = auc(own, scores.ravel()) if len(scores) > 1 else None
        figure = {"value": value, "ci95": list(bounds) if bounds else None}
        entries.append({"adversary": adversary, "attacker": attacker, "pairs": len(scores), "auc": figure})
    return entries
