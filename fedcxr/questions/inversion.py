"""What did the films look like that one update of a shared model was learnt from?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import pydantic

from fedcxr.knowledge import Holding
from fedcxr.methods.fedavg import FedAvg
from fedcxr.questions import PROTECTED, Answer, Asked, Heard, Part, Question, Setting, _film_curve, no_film
from fedcxr.questions._picture_links import Album
from fedcxr.questions._recovered import Truth, doubts_of_others, figures, of_others
from fedcxr.questions._rising import STEPS
from fedcxr.questions._updates import SHARES, Update, When, handed_over
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.table import Row, Table
from fedcxr.table import figure as told
from fedcxr.verdict.inversion import inversion as in_words
from fedcxr.view import Films, Rows, Shared, View, Weights
from fedcxr.world import Roles, World

EARLY: When = "early"
OPEN = "control_open"
# Whose update is a gradient, whose films do not mix, and whose many first filters say much of each.
EASY = FedAvg(optimiser="sgd", norm="group", width=32, stride=4)
OPEN_MUST_REACH = 1.0  # dB over the mean film, below which an attack proves nothing about other updates
FEW = 4  # films of the control
FIGURES = ("over_mean_db", "psnr", "ssim", "link_rate")


@dataclass(frozen=True)
class Cell:
    """All updates of one kind."""

    batch: int
    when: When
    rows: slice  # of all pictures
    truth: Truth

    @property
    def batches(self) -> Iterator[slice]:
        """Of these pictures, those that belong to one update."""
        return (slice(start, start + self.batch) for start in range(0, len(self.truth.films), self.batch))

    def matched(self, pictures: Films) -> Films:
        """The cell's own pictures, each at the film of its update that it is likest to, none twice."""
        from scipy.optimize import linear_sum_assignment

        found = np.array(pictures[self.rows])
        for batch in self.batches:
            shown, films = (
                array[batch].reshape(self.batch, -1).astype(np.float64) for array in (found, self.truth.films)
            )
            errors = np.square(films[:, None] - shown[None]).mean(axis=2)
            found[batch] = found[batch][linear_sum_assignment(errors)[1]]
        return found

    def links_of_films(self, seed: int) -> dict[str, Any] | None:
        """How well the films themselves, in place of pictures, tell whose they are."""
        truth = self.truth
        return None if truth.album is None else truth.album.linked(truth.films, truth.patients, seed)["auc"]


class Inversion(Question):
    """What did the films look like that an update was learnt from?

    The experimenter makes updates: a single step on `batches` films of the train split, from the weights that learning
    begins with (early) and from those that were learnt (late). Told are the weights before and after, the findings of
    each film, and the method. Pictures may be given in any order. The gain is over the mean of the attacker's own
    films, which looks at nothing.

    `control_open` is the same attack on a single film's gradient itself, of a small network that has learnt nothing:
    it must succeed. `control_shuffled` compares pictures with the films of other people: there they must be no better
    than the mean film.
    """

    section: ClassVar[str] = "inversion"
    rules: ClassVar[tuple[str, ...]] = (_film_curve.RULE,)
    knows: ClassVar[tuple[str, ...]] = ("own_films", "known_films", "mechanism")

    batches: tuple[Annotated[int, pydantic.Field(ge=1, le=64)], ...] = pydantic.Field(
        (1, 4, 8), min_length=1, max_length=8, description="films that an update is learnt from"
    )
    when: tuple[When, ...] = pydantic.Field(
        ("early", "late"), min_length=1, max_length=2, description="from the first weights, or from what was learnt"
    )
    films: int = pydantic.Field(
        8, ge=1, le=_film_curve.FOLLOWED, description="in all updates of one kind together, each of another patient"
    )

    def settings(self, world: World) -> Mapping[str, Setting]:
        return {PROTECTED: Setting(world), OPEN: Setting(_easy(world))}

    def roles(self, world: World) -> Roles:
        learnt_from, nobody = world.cohort.index["split"].to_numpy() == "train", no_film(world)
        return Roles(attacked=learnt_from, owned=~learnt_from, known=nobody, member=learnt_from)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        starts = _starts(world, view)
        updates: list[Update] = []
        cells: list[Cell] = []
        done = 0
        easy = _is_easy(world)
        kinds = [(1, EARLY)] if easy else [(batch, when) for batch in self.batches for when in self.when]
        rows = _of_different_people(world, roles)[: FEW if easy else self.films]
        album, mean = Album.of(world, roles, view), _mean(held)
        for batch, when in kinds:
            asked = rows[: len(rows) // batch * batch]
            made = [
                _update(world, when, starts.get(when), some, number) for number, some in enumerate(_by(asked, batch))
            ]
            found = [update for update in made if update is not None]
            if not found:
                continue
            films, patients = world.cohort.films(asked), world.cohort.patients[asked]
            truth = Truth(films, None, patients, mean, world.method, album)
            cells.append(Cell(batch, when, slice(done, done + len(asked)), truth))
            updates += found
            done += len(asked)
        if not cells:
            return None
        shape = (done, *world.cohort.size)
        parts = {_film_curve.at(share): Part(shape, np.uint8, optional=True) for share in SHARES}
        parts |= {_film_curve.PICTURES: Part(shape, np.uint8), STEPS: Part((), np.int64, optional=True)}
        nothing = view.take(np.zeros(0, dtype=np.intp))  # of what was released, the model alone
        return Asked(nothing, parts, tuple(cells), handed_over(updates))

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        [easy] = heard[OPEN].key
        cells: Sequence[Cell] = heard[PROTECTED].key
        likeness = {cell.batch: cell.links_of_films(seed) for cell in cells if cell.when == cells[0].when}
        entries = []
        for attacker, answer in heard[PROTECTED].answers.items():
            opened = _of_cell(heard[OPEN].answers[attacker], easy, seed)
            kinds = [{**_of_cell(answer, cell, seed), "links_of_films": likeness[cell.batch]} for cell in cells]
            entries.append(
                {
                    "attacker": attacker,
                    "updates": kinds,
                    **_controls(kinds, opened),
                    "seconds": round(sum(one.seconds for one in heard.values()), 3),
                }
            )
        return entries

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table | None:
        best: dict[tuple[int, str], tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        for entry in sorted(entries, key=lambda one: not one["conclusive"]):  # of whom nothing is proved, only last
            for one in entry["updates"]:
                kind, gain = (one["batch"], one["when"]), one["over_mean_db"]["value"]
                better = kind not in best or (
                    entry["conclusive"] >= best[kind][0]["conclusive"] and gain > best[kind][1]["over_mean_db"]["value"]
                )
                if gain is not None and better:
                    best[kind] = entry, one
        if not best:
            return None
        rows = [
            Row(
                f"{one['batch']} films, {one['when']}: {entry['attacker']}",
                (_gain(one), told(one["ssim"]["value"]), *_links(one), _rising(one)),
                "" if entry["conclusive"] else "inconclusive",
            )
            for entry, one in best.values()
        ]
        heads = ("dB over the mean film", "SSIM", "links, AUC", "the films do", "")
        return Table(
            "Films from one update, the best attacker at each",
            heads,
            tuple(rows),
            (),
            in_words(entries, [*best.values()]),
        )


def _easy(world: World) -> World:
    """The same films in a consortium that hides nothing, with a network that has learnt nothing."""
    if world.traces is None:
        return replace(world, method=EASY)
    first = Release("update", OPEN, EASY.plugin_name(), {}).publishing(EASY.initial(_rng(world, "easy")))
    nothing = np.zeros(0, dtype=np.intp)
    traces = replace(world.traces, shared=Shared((), first), films=nothing, sites=nothing.astype(object))
    return replace(world, method=EASY, traces=traces)


def _is_easy(world: World) -> bool:
    learnt = world.released.shared.learnt
    return learnt is not None and learnt.site == OPEN


def _rng(world: World, *path: str | int) -> np.random.Generator:
    return stream(world.seed, "inversion", *path)


def _starts(world: World, view: View) -> dict[When, Weights]:
    """What sites were sent, before anything was learnt and afterwards; where all learn alone, nothing."""
    if view.model is None:
        return {}
    return {"early": world.method.initial(_rng(world, "initial")), "late": view.model}


def _of_different_people(world: World, roles: Roles) -> Rows:
    """All attacked films at random, but first one of everybody, then a second of all who have two, and so on."""
    rows = _rng(world, "films").permutation(np.flatnonzero(roles.attacked))
    patients = pd.Series(world.cohort.patients[rows])
    return rows[np.argsort(patients.groupby(patients).cumcount(), kind="stable")]


def _by(rows: Rows, batch: int) -> list[Rows]:
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]


def _update(world: World, when: When, start: Weights | None, rows: Rows, number: int) -> Update | None:
    if start is None:
        return None
    batch = world.cohort.take(rows)
    after = world.method.update(batch, start, _rng(world, when, len(rows), number), world.context)
    return None if after is None else Update(when, start, after, batch.labels.astype(np.float32))


def _mean(held: Mapping[str, Holding]) -> Films:  # (h, w)
    own = np.asarray(held["own_films"].arrays["films"], dtype=np.float64)
    return np.asarray(np.round(own.mean(axis=0)), dtype=np.uint8)


def _of_cell(answer: Answer, cell: Cell, seed: int) -> dict[str, Any]:
    """An attacker's figures at one kind of update."""
    names = [_film_curve.at(share) for share in (*SHARES, 1) if _film_curve.at(share) in answer]
    own: Answer = {name: cell.matched(answer[name]) for name in names}
    if STEPS in answer:
        own = {**own, STEPS: answer[STEPS]}
    found = figures(own, cell.truth, seed, FIGURES)
    errors = np.square(own[_film_curve.PICTURES].astype(np.float64) - cell.truth.films)
    return {
        "batch": cell.batch,
        "when": cell.when,
        "films": len(cell.truth.films),
        "mse": float(errors.mean()),  # in grey levels squared
        **{name: found[name] for name in (*FIGURES, "most_recovered")},
        "links": found["known_films"] and found["known_films"]["auc"],
        "control_shuffled_db": of_others(own, cell.truth, seed),
        "converged": found["converged"],
        "curve": found["curve"],
    }


def _controls(kinds: Sequence[Mapping[str, Any]], opened: Mapping[str, Any]) -> dict[str, Any]:
    reached, ends = opened["over_mean_db"]["value"], opened["over_mean_db"]["ci95"]
    doubts = []
    if reached is None or ends is None or ends[0] <= 0 or reached < OPEN_MUST_REACH:
        shown = "no figure" if reached is None else f"{reached:+.2f} dB"
        doubts.append(
            f"from a single film's gradient it reaches {shown} over the mean film, "
            f"which is not surely above 0, or below {OPEN_MUST_REACH:g}"
        )
    others = [doubt for one in kinds for doubt in doubts_of_others(one["control_shuffled_db"])]
    doubts += others[:1]
    return {
        "control_open_db": reached,
        "control_open_links": opened["links"],
        "conclusive": not doubts,
        "inconclusive_because": "; ".join(doubts) or None,
    }


def _gain(one: Mapping[str, Any]) -> str:
    gain = one["over_mean_db"]
    ends = "unknown" if gain["ci95"] is None else "{:+.2f} to {:+.2f}".format(*gain["ci95"])
    return f"{gain['value']:+.2f} ({ends})"


def _links(one: Mapping[str, Any]) -> tuple[str, str]:
    pictures, films = (one[whose] or {"value": None} for whose in ("links", "links_of_films"))
    return told(pictures["value"]), told(films["value"])


def _rising(one: Mapping[str, Any]) -> str:
    return "still rising" if one["converged"] is False else ""
