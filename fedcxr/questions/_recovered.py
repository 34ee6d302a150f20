"""What pictures recovered of films: how near they came, against the mean film, and whose they tell to be."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.codes import Codes
from fedcxr.codes.support import best_match
from fedcxr.methods import Method
from fedcxr.metrics import auc
from fedcxr.metrics.bootstrap import mean_interval
from fedcxr.metrics.similarity import similarity
from fedcxr.questions import Answer, _film_curve
from fedcxr.questions._picture_links import Album
from fedcxr.rng import stream
from fedcxr.view import Films, Rows

PerFilm = npt.NDArray[np.floating]

EXACT = 60.0  # dB: what an exact copy counts in a mean; rounding to 256 grey levels leaves about as much
QUANTILES = (0.5, 0.9, 0.99)  # of films, from those that are least to those that are most recovered


@dataclass(frozen=True)
class Truth:
    """The attacked films as they were, and whose they are."""

    films: Films  # (n, h, w)
    codes: Codes | None  # (n, c, h, w); None: no codes were released
    patients: npt.NDArray[np.object_]  # (n,)
    mean: npt.NDArray[np.uint8]  # (h, w) of all films that are not tested on
    method: Method
    album: Album | None = None  # of known films of the same people; None: there are none

    def others(self) -> Rows:
        """For each film one of somebody else, unless one person owns more than half of them."""
        order = np.argsort(self.patients, kind="stable")
        most = int(np.unique(self.patients, return_counts=True)[1].max())
        others = np.empty_like(order)
        others[order] = np.roll(order, most)
        return others


def figures(answer: Answer, truth: Truth, seed: int, only: Collection[str] | None = None) -> dict[str, Any]:
    """All of them; `only` names those that are wanted with their intervals, which are what takes time."""
    pictures = answer["pictures"]
    seen = similarity(truth.films, pictures)
    nothing = np.full(len(truth.films), np.nan)
    scored = truth.codes is not None and "support" in answer
    per_film: dict[str, PerFilm] = {
        **(_support_figures(answer["support"], truth) if scored else {}),
        **{name: seen[name] for name in ("ssim", "psnr", "rmse", "me", "mae")},
        "over_mean_db": seen["psnr"] - _usual(truth),
        "link_rate": best_match(pictures, truth.films).astype(np.float64),
    }
    every = {"support_auc": nothing, "recovered": nothing, **per_film}
    wanted = every if only is None else {name: every[name] for name in only}
    found = {name: figure(values, truth.patients, seed) for name, values in wanted.items()}
    return {
        **found,
        "most_recovered": {name: _most(per_film[name], truth.patients) for name in ("ssim", "over_mean_db")},
        "known_films": None if truth.album is None else truth.album.linked(pictures, truth.patients, seed),
        **_film_curve.curve(answer, lambda shown, rows: _gain(shown, truth, rows), found["over_mean_db"]["ci95"]),
    }


def _usual(truth: Truth, rows: Rows | slice = slice(None)) -> PerFilm:
    """How near the mean film is to each of these, in dB."""
    films = truth.films[rows]
    return similarity(films, np.broadcast_to(truth.mean, films.shape))["psnr"]


def _gain(pictures: Films, truth: Truth, rows: Rows) -> float:
    near = np.minimum(similarity(truth.films[rows], pictures)["psnr"], EXACT)
    return float((near - np.minimum(_usual(truth, rows), EXACT)).mean())


def _most(per_film: PerFilm, patients: npt.NDArray[np.object_]) -> dict[str, float | None]:
    """Of films in the order in which they were recovered, and of the person who was recovered most."""
    known = np.isfinite(per_film)
    if not known.any():
        return {**{str(q): None for q in QUANTILES}, "worst_film": None, "worst_patient": None}
    values, (_, person) = per_film[known], np.unique(patients[known], return_inverse=True)
    by_person = np.bincount(person, weights=values) / np.bincount(person)
    quantiles = {str(q): float(np.quantile(values, q)) for q in QUANTILES}
    return {**quantiles, "worst_film": float(values.max()), "worst_patient": float(by_person.max())}


def of_others(answer: Answer, truth: Truth, seed: int) -> dict[str, Any]:
    """The same gain on films of other people, where pictures must be no better than the mean film."""
    others = truth.others()
    gains = similarity(truth.films[others], answer["pictures"])["psnr"] - _usual(truth, others)
    return figure(gains, truth.patients, seed)


def doubts_of_others(gained: dict[str, Any]) -> list[str]:
    if gained["ci95"] is None or gained["ci95"][0] <= 0:
        return []
    return [f"its pictures are {gained['value']:+.2f} dB nearer to other people's films than the mean film"]


def _support_figures(support: npt.NDArray[Any], truth: Truth) -> dict[str, PerFilm]:
    assert truth.codes is not None
    scores, kept = support.astype(np.float32), truth.codes != 0
    chosen = truth.method.chosen(scores)
    return {
        "support_auc": np.array([auc(true.ravel(), own.ravel()) for true, own in zip(kept, scores, strict=True)]),
        "recovered": (chosen & kept).sum(axis=(1, 2, 3)) / kept.sum(axis=(1, 2, 3)),
    }


def figure(per_film: PerFilm, patients: npt.NDArray[np.object_], seed: int) -> dict[str, Any]:
    """The mean over films that have the figure: an exact copy has no PSNR, a tiny film no SSIM."""
    known = np.isfinite(per_film)
    if not known.any():
        return {"value": None, "ci95": None}
    bounds = mean_interval(per_film[known], patients[known], stream(seed, "bootstrap", "recovery"))
    return {"value": float(per_film[known].mean()), "ci95": list(bounds) if bounds else None}
