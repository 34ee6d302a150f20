"""What did the films look like? Pictures, and of codes the numbers that are true, against the films themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedcxr.codes import Codes
from fedcxr.knowledge import Holding
from fedcxr.metrics.similarity import similarity
from fedcxr.questions import PROTECTED, Answer, Asked, Heard, Part, Question, Setting, _film_curve, of_the_tested
from fedcxr.questions._picture_links import Album
from fedcxr.questions._recovered import EXACT, Truth, doubts_of_others, figures, of_others
from fedcxr.table import Table, share
from fedcxr.verdict.recovery import pictures as in_words
from fedcxr.view import Films, View
from fedcxr.world import Roles, World

RAW = "control_raw"
RAW_MUST_REACH = 30.0  # dB on unprotected films, below which an attack proves nothing about a protection


class Reconstruction(Question):
    """What did these films look like?

    Asked about the films that linkage attacks. The gain is over the mean film, which looks at nothing.

    `control_raw` is the same attack on unprotected films: it must give them back. `control_shuffled` compares its
    pictures with the films of other people: there they must be no better than the mean film.
    """

    section: ClassVar[str] = "recovery"
    bounds: ClassVar[tuple[str, ...]] = ("over_mean_db", "link_rate")
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
        truth = _truth(world, roles, seen)
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
                **figures(answer, truth, seed),
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


def _truth(world: World, roles: Roles, view: View) -> Truth:
    """Of the films that are asked about, which everybody sees like this."""
    attacked = world.rows_of(roles.attacked)
    films = world.cohort.films(world.released.films[attacked])
    patients = world.cohort.patients[world.released.films[attacked]]
    mean = np.round(world.cohort.films(np.flatnonzero(~world.tested)).mean(axis=0)).astype(np.uint8)
    codes = _codes(world, films, attacked) if world.protects else None
    return Truth(films, codes, patients, mean, world.method, Album.of(world, roles, view))


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


def _near(raw: Heard, attacker: str) -> float | None:
    """How near an attacker comes to films that nothing was done to, in dB; None: it did not try."""
    if attacker not in raw.answers:
        return None
    near = similarity(raw.key.films, raw.answers[attacker]["pictures"])["psnr"]
    return float(np.minimum(near, EXACT).mean())


def _controls(answer: Answer, truth: Truth, reached: float | None, seed: int) -> dict[str, Any]:
    """Does the attack give unprotected films back, and is it no better than the mean film at films of others?"""
    gained = of_others(answer, truth, seed)
    doubts = doubts_of_others(gained)
    if reached is not None and reached < RAW_MUST_REACH:
        doubts.append(f"on unprotected films it reaches {reached:.1f} dB, below {RAW_MUST_REACH:g}")
    return {
        "control_raw_psnr": reached,
        "control_shuffled_db": gained["value"],
        "conclusive": False if doubts else (None if reached is None else True),  # null: it was never tried on them
        "inconclusive_because": "; ".join(doubts) or None,
    }
