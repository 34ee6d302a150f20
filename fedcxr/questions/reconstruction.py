"""What did the films look like? Pictures, and of codes the numbers that are true, against the films themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedcxr.codes import Codes
from fedcxr.codes.support import best_match
from fedcxr.knowledge import Holding
from fedcxr.methods import Method
from fedcxr.metrics import auc
from fedcxr.metrics.bootstrap import mean_interval
from fedcxr.metrics.similarity import similarity
from fedcxr.questions import PROTECTED, Answer, Asked, Heard, Part, Question, of_the_tested
from fedcxr.rng import stream
from fedcxr.table import Table, share
from fedcxr.view import Films, View
from fedcxr.world import Roles, World

PerFilm = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Truth:
    """The attacked films as they were, and whose they are."""

    films: Films  # (n, h, w)
    codes: Codes | None  # (n, c, h, w); None: no codes were released
    patients: npt.NDArray[np.object_]  # (n,)
    mean: npt.NDArray[np.uint8]  # (h, w) of all films that are not tested on
    method: Method

    @classmethod
    def of(cls, world: World, roles: Roles) -> Truth:
        """Of the films that are asked about."""
        attacked, traces = world.rows_of(roles.attacked), world.released
        films = world.cohort.films(traces.films[attacked])
        here = np.split(attacked, traces.shared.ends)
        parts = np.split(films, np.cumsum([rows.sum() for rows in here])[:-1])
        codes = [
            world.method.clean("purified", part, traces.shared.weights_behind(release), world.context)
            for release, part in zip(traces.shared.releases, parts, strict=True)
            if len(part)
        ]
        known = [code for code in codes if code is not None]
        mean = np.round(world.cohort.films(np.flatnonzero(~world.tested)).mean(axis=0)).astype(np.uint8)
        patients = world.cohort.patients[traces.films[attacked]]
        together = np.concatenate(known).astype(np.int8, copy=False) if known else None
        return cls(films, together, patients, mean, world.method)


class Reconstruction(Question):
    """What did these films look like?

    Asked about the films that linkage attacks. The gain is over the mean film, which looks at nothing.
    """

    section: ClassVar[str] = "recovery"
    knows: ClassVar[tuple[str, ...]] = ("own_films", "known_films", "mechanism", "keys", "releases")

    def roles(self, world: World) -> Roles:
        return of_the_tested(world)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        attacked = world.rows_of(roles.attacked)
        if not attacked.any():
            return None
        truth = Truth.of(world, roles)
        parts = {"pictures": Part(truth.films.shape, np.uint8)}
        if truth.codes is not None:
            parts["support"] = Part(truth.codes.shape, np.float16)
        return Asked(view.take(attacked), parts, truth)

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        truth: Truth = heard[PROTECTED].key
        usual = similarity(truth.films, np.broadcast_to(truth.mean, truth.films.shape))["psnr"]
        return [
            {"attacker": attacker, "films": len(truth.films), **_figures(answer, truth, usual, seed)}
            for attacker, answer in heard[PROTECTED].answers.items()
        ]

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table | None:
        shown = [entry for entry in entries if entry["over_mean_db"]["value"] is not None]
        if not shown:
            return None
        # Pictures that differ by less than anybody sees are as good as each other; then the support decides.
        best = max(shown, key=lambda one: (round(one["over_mean_db"]["value"], 1), one["recovered"]["value"] or 0))
        gain, kept = best["over_mean_db"], best["recovered"]
        blind = [entry["recovered"]["value"] for entry in shown if entry["attacker"] == "prior"]
        usual = f" ({share(blind[0])} without looking)" if blind else ""
        support = "" if kept["value"] is None else f"{share(kept['value'])} of the support{usual}, "
        ends = "unknown" if gain["ci95"] is None else "{:+.2f} to {:+.2f}".format(*gain["ci95"])
        linked = share(best["link_rate"]["value"])
        told = (
            f"most recovered, {best['adversary']}, {best['attacker']}: {support}"
            f"{gain['value']:+.2f} dB over the mean film ({ends}), {linked} linked by picture"
        )
        return Table("", notes=(told,))


def _figures(answer: Answer, truth: Truth, usual: PerFilm, seed: int) -> dict[str, Any]:
    pictures = answer["pictures"]
    seen = similarity(truth.films, pictures)
    nothing = np.full(len(truth.films), np.nan)
    per_film: dict[str, PerFilm] = {
        **(_support_figures(answer["support"], truth) if truth.codes is not None else {}),
        "psnr": seen["psnr"],
        "ssim": seen["ssim"],
        "over_mean_db": seen["psnr"] - usual,
        "link_rate": best_match(pictures, truth.films).astype(np.float64),
    }
    every = {"support_auc": nothing, "recovered": nothing, **per_film}
    return {name: _figure(values, truth.patients, seed) for name, values in every.items()}


def _support_figures(support: npt.NDArray[Any], truth: Truth) -> dict[str, PerFilm]:
    assert truth.codes is not None
    scores, kept = support.astype(np.float32), truth.codes != 0
    chosen = truth.method.chosen(scores)
    return {
        "support_auc": np.array([auc(true.ravel(), own.ravel()) for true, own in zip(kept, scores, strict=True)]),
        "recovered": (chosen & kept).sum(axis=(1, 2, 3)) / kept.sum(axis=(1, 2, 3)),
    }


def _figure(per_film: PerFilm, patients: npt.NDArray[np.object_], seed: int) -> dict[str, Any]:
    """The mean over films that have the figure: an exact copy has no PSNR, a tiny film no SSIM."""
    known = np.isfinite(per_film)
    if not known.any():
        return {"value": None, "ci95": None}
    bounds = mean_interval(per_film[known], patients[known], stream(seed, "bootstrap", "recovery"))
    return {"value": float(per_film[known].mean()), "ci95": list(bounds) if bounds else None}
