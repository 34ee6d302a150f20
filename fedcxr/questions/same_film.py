"""Is this the release of a film that one holds? Candidates against codes, film by film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fedcxr.knowledge import Holding
from fedcxr.metrics import auc
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.questions import PROTECTED, Asked, Heard, Part, Question, no_film
from fedcxr.rng import stream
from fedcxr.table import Table, figure
from fedcxr.verdict import recovery
from fedcxr.view import View
from fedcxr.world import Roles, World


class SameFilm(Question):
    """Is this the release of that film?

    Asked about films of the adversary's own that the sites released too (`knowledge.pairs`).
    """

    section: ClassVar[str] = "same_film"
    bounds: ClassVar[tuple[str, ...]] = ("auc",)
    knows: ClassVar[tuple[str, ...]] = ("own_films", "mechanism", "pairs")

    def roles(self, world: World) -> Roles:
        tested, nobody = world.tested, no_film(world)
        return Roles(attacked=nobody, owned=~tested, known=nobody, member=nobody)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        if "pairs" not in held:
            return None
        films = held["pairs"].arrays["films"].astype(np.intp)
        patients = world.cohort.patients[np.flatnonzero(roles.owned)[films]]
        nothing = view.take(np.zeros(0, dtype=np.intp))  # the pairs are all that is asked about
        return Asked(nothing, {"scores": Part((len(films), len(films)), np.float32)}, patients)

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        entries = []
        patients = heard[PROTECTED].key
        for attacker, answer in heard[PROTECTED].answers.items():
            scores = answer["scores"]
            own = np.eye(len(scores), dtype=bool).ravel()
            a, b = np.indices(scores.shape).reshape(2, -1)
            bounds = auc_interval(scores.ravel(), own, patients[a], patients[b], stream(seed, "bootstrap", "same film"))
            value = auc(own, scores.ravel()) if len(scores) > 1 else None
            told = {"value": value, "ci95": list(bounds) if bounds else None}
            entries.append({"attacker": attacker, "pairs": len(scores), "auc": told})
        return entries

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table | None:
        notes = tuple(
            f"who has a film recognises its code by {entry['attacker']}: AUC {figure(entry['auc']['value'])}"
            for entry in entries
        )
        return Table("", notes=notes, verdict=recovery.same_film(entries)) if notes else None
