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
from fedcxr.questions import PROTECTED, Answer, Asked, Heard, Part, Question, Setting, _film_curve, of_the_tested
from fedcxr.questions._picture_links import Album
from fedcxr.rng import stream
from fedcxr.table import Table, share
from fedcxr.verdict.recovery import pictures as in_words
from fedcxr.view import Films, Rows, View
from fedcxr.world import Roles, World

PerFilm = npt.NDArray[np.floating]

RAW = "control_raw"
RAW_MUST_REACH = 30.0  # dB on unprotected films, below which an attack proves nothing about a protection
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

    @classmethod
    def of(cls, world: World, roles: Roles, view: View) -> Truth:
        """Of the films that are asked about, which everybody sees like this."""
        attacked = world.rows_of(roles.attacked)
        films = world.cohort.films(world.released.films[attacked])
        patients = world.cohort.patients[world.released.films[attacked]]
        mean = np.round(world.cohort.films(np.flatnonzero(~world.tested)).mean(axis=0)).astype(np.uint8)
        codes = _codes(world, films, attacked) if world.protects else None
        return cls(films, codes, patients, mean, world.method, Album.of(world, roles, view))

    def others(self) -> Rows:
        """For each film one of somebody else, unless one person owns more than half of them."""
        order = np.argsort(self.patients, kind="stable")
        most = int(np.unique(self.patients, return_counts=True)[1].max())
        others = np.empty_like(order)
        others[order] = np.roll(order, most)
        return others


def _codes(world: World, films: Films, attacked: npt.NDArray[np.bool_]) -> Codes | None:
    """Of each film by the coder of the site that released it."""
    shared = world.released.shared
    counts = [int(rows.sum()) for rows in np.split(attacked, shared.ends)]
    codes = [
        world.method.clean("purified", part, shared.weights_behind(release), world.context)
        for release, part in zip(shared.releases, np.split(films, np.cumsum(counts)[:-1]), strict=True)
        if len(part)
    ]
    known = [code for code in codes if code is not None]
    return np.concatenate(known).astype(np.int8, copy=False) if known else None


class Reconstruction(Question):
    """What did these films look like?

    Asked about the films that linkage attacks. The gain is over the mean film, which looks at nothing.

    `control_raw` is the same attack on unprotected films: it must give them back. `control_shuffled` compares its
    pictures with the films of other people: there they must be no better than the mean film.
    """

    section: ClassVar[str] = "recovery"
    rules: ClassVar[tuple[str, ...]] = (_film_curve.RULE,)
    knows: ClassVar[tuple[str, ...]] = ("own_films", "known_films", "mechanism", "keys", "releases")

    def settings(self, world: World) -> Mapping[str, Setting]:
        # On a smoke budget: whoever cannot leave unprotected films as they are will not learn it.
        return {PROTECTED: Setting(world), RAW: Setting(world.unprotected(), smoke=True)}

    def roles(self, world: World) -> Roles:
        return of_the_tested(world)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        attacked = world.rows_of(roles.attacked)
        if not attacked.any():
            return None
        seen = view.take(attacked)
        truth = Truth.of(world, roles, seen)
        parts = _film_curve.parts(truth.films.shape)
        if truth.codes is not None:
            parts["support"] = Part(truth.codes.shape, np.float16, optional=True)
        return Asked(seen, parts, truth)

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        truth: Truth = heard[PROTECTED].key
        raw = heard.get(RAW)
        return [
            {
                "attacker": attacker,
                "films": len(truth.films),
                **_figures(answer, truth, seed),
                **_controls(answer, truth, None if raw is None else _near(raw, attacker), seed),
                "seconds": round(sum(one.seconds for one in heard.values()), 3),
            }
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
        rising = "" if best["converged"] is not False else "; still rising"
        told = (
            f"most recovered, {best['adversary']}, {best['attacker']}: {support}"
            f"{gain['value']:+.2f} dB over the mean film ({ends}), {linked} linked by picture{rising}"
        )
        return Table("", notes=(told,), verdict=in_words(entries, best))


def _figures(answer: Answer, truth: Truth, seed: int) -> dict[str, Any]:
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
    figures = {name: _figure(values, truth.patients, seed) for name, values in every.items()}
    return {
        **figures,
        "most_recovered": {name: _most(per_film[name], truth.patients) for name in ("ssim", "over_mean_db")},
        "known_films": None if truth.album is None else truth.album.linked(pictures, truth.patients, seed),
        **_film_curve.curve(answer, lambda shown, rows: _gain(shown, truth, rows), figures["over_mean_db"]["ci95"]),
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


def _near(raw: Heard, attacker: str) -> float | None:
    """How near an attacker comes to films that nothing was done to, in dB; None: it did not try."""
    if attacker not in raw.answers:
        return None
    near = similarity(raw.key.films, raw.answers[attacker]["pictures"])["psnr"]
    return float(np.minimum(near, EXACT).mean())


def _controls(answer: Answer, truth: Truth, reached: float | None, seed: int) -> dict[str, Any]:
    """Does the attack give unprotected films back, and is it no better than the mean film at films of others?"""
    others = truth.others()
    gains = similarity(truth.films[others], answer["pictures"])["psnr"] - _usual(truth, others)
    of_others = _figure(gains, truth.patients, seed)
    doubts = []
    if of_others["ci95"] is not None and of_others["ci95"][0] > 0:
        doubts.append(
            f"its pictures are {of_others['value']:+.2f} dB nearer to other people's films than the mean film"
        )
    if reached is not None and reached < RAW_MUST_REACH:
        doubts.append(f"on unprotected films it reaches {reached:.1f} dB, below {RAW_MUST_REACH:g}")
    return {
        "control_raw_psnr": reached,
        "control_shuffled_db": of_others["value"],
        "conclusive": False if doubts else (None if reached is None else True),  # null: it was never tried on them
        "inconclusive_because": "; ".join(doubts) or None,
    }


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
