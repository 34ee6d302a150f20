"""Was this patient, was this film, among those that a shared model was learnt from?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pydantic

from fedcxr.knowledge import Holding
from fedcxr.methods import guarantee_of
from fedcxr.metrics.paired import Replicates
from fedcxr.questions import PROTECTED, Asked, Heard, Part, Question, Setting, no_film
from fedcxr.questions._by_heart import by_heart
from fedcxr.questions._membership_scoring import OVERFITTED, RULE, Truth, replicates, score_attack
from fedcxr.questions._rising import STEPS
from fedcxr.rng import stream
from fedcxr.table import Row, Table, figure, share, span
from fedcxr.verdict.membership import membership as in_words
from fedcxr.view import View
from fedcxr.world import Bools, Roles, World


class Membership(Question):
    """Was this patient among those that the shared model was learnt from?

    Asked about are as many people of the train split, who were learnt from, as of the test split, who were not: all of
    the smaller side. With the question come their films, findings, and which films are one person's. People of the
    val split are the adversary's own.

    `control_overfitted` is the same attack on a model that knows a few films by heart: it must succeed.
    `control_members` tells members from members, divided at random: it must be at chance. So must `control_blind`,
    which looks at no model, but at how many films and findings somebody has.
    """

    section: ClassVar[str] = "membership"
    bounds: ClassVar[tuple[str, ...]] = ("auc", "film.auc", "maximum_of_films.auc")
    rules: ClassVar[tuple[str, ...]] = (RULE,)
    knows: ClassVar[tuple[str, ...]] = ("own_films", "own_records", "mechanism", "updates")

    films: int = pydantic.Field(32, ge=2, le=100_000, description="that the model of the control learns by heart")
    turns: int = pydantic.Field(40, ge=1, le=10_000, description="in which it does, at most")

    def settings(self, world: World) -> Mapping[str, Setting]:
        if "model" not in world.method.forms:
            return {PROTECTED: Setting(world)}
        return {PROTECTED: Setting(world), OVERFITTED: Setting(by_heart(world, self.films, self.turns))}

    def roles(self, world: World) -> Roles:
        there: Bools = np.ones(len(world.cohort), dtype=np.bool_)
        if world.traces is not None and world.traces.there is not None:
            there = world.traces.there
        split = world.cohort.index["split"].to_numpy()
        sides = [np.unique(world.patients[there & (split == part)]) for part in ("train", "test")]
        rng, count = stream(world.seed, "membership", "people"), min(map(len, sides))
        drawn = np.concatenate([rng.permutation(side)[:count] for side in sides])
        attacked = there & np.isin(world.patients, drawn)
        return Roles(attacked, owned=split == "val", known=no_film(world), member=attacked & (split == "train"))

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        if view.model is None or not roles.attacked.any():
            return None
        rng = stream(world.seed, "membership", "order")  # in the table's order, members might stand together
        rows = rng.permutation(np.flatnonzero(roles.attacked))
        asked, people = world.cohort.take(rows), pd.factorize(world.patients[rows])[0].astype(np.int64)
        given = Holding(
            {"films": asked.films(), "labels": asked.labels, "people": people}, {"findings": list(asked.findings)}
        )
        guarantee = guarantee_of(world.method, world.released.reports)
        truth = Truth(roles.member[rows], people, asked.labels, guarantee, world.patients[rows])
        scores = Part((len(rows),), np.float32)
        nothing = view.take(np.zeros(0, dtype=np.intp))  # of what was released, the model alone
        half = Part(scores.shape, scores.dtype, optional=True)
        return Asked(nothing, {"scores": scores, "half": half, STEPS: Part((), np.int64, optional=True)}, truth, given)

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        return score_attack(heard, seed)

    def replicates(self, heard: Mapping[str, Heard]) -> Mapping[str, Replicates | None]:
        return replicates(heard[PROTECTED].key, heard[PROTECTED].answers)

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table:
        heads = ("AUC", "95 % interval", "per film", "at 1 % FPR", "epsilon at least", "by heart", "among members")
        notes = ("by heart and among members are controls, to be near 1 and .5",)
        return Table("Whose films a model was learnt from", heads, tuple(map(_row, entries)), notes, in_words(entries))


def _row(entry: Mapping[str, Any]) -> Row:
    least = entry["epsilon_at_least"]
    cells = (
        figure(entry["auc"]["value"]),
        span(entry["auc"]["ci95"]),
        figure(entry["film"]["auc"]["value"]),
        share(entry["tpr_at_fpr"]["0.01"]),
        "unknown" if least is None else f"{least['value']:.2f}",
        figure(entry["control_overfitted_auc"]),
        figure(entry["control_members_auc"]),
    )
    doubt = "guarantee contradicted" if entry["contradicts_epsilon"] else "inconclusive"
    return Row(f"{entry['adversary']}, {entry['attacker']}", cells, "" if entry["conclusive"] else doubt)
