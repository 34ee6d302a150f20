"""Whose films are these? Every released film against every film of known people: verification and retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fedcxr.knowledge import Holding
from fedcxr.metrics.paired import Replicates
from fedcxr.questions import PROTECTED, Asked, Heard, Part, Question, Setting, _rising, _scoring, _trust, of_the_tested
from fedcxr.questions._linkage_table import linkage_table
from fedcxr.questions._matches import matches
from fedcxr.questions._opened import apart, to_key_holders
from fedcxr.questions._pairs import ScoredPairs
from fedcxr.questions._pairs import Scores as Scores  # what adversaries answer
from fedcxr.questions._scoring import RAW, SHUFFLED, auc_of_rows, replicates, score_attack
from fedcxr.table import Table
from fedcxr.view import View
from fedcxr.world import Roles, World


class Linkage(Question):
    """Whose films are these?

    The people of the test split are attacked; all others are the adversary's own.

    `control_raw` is the same attack on unprotected films: it must succeed. `control_shuffled` is the same attack in a
    world where identities mean nothing: it must be at chance. Where there are keys, `with_keys` is the attack on
    unprotected films by those who have keys, at what opens to them.
    """

    knows: ClassVar[tuple[str, ...]] = (
        "own_films",
        "known_films",
        "mechanism",
        "keys",
        "releases",
        "demographics",
    )
    bounds: ClassVar[tuple[str, ...]] = ("auc",)
    rules: ClassVar[tuple[str, ...]] = (_rising.RULE, _trust.RULE, _scoring.RULE)

    def settings(self, world: World) -> Mapping[str, Setting]:
        return {
            PROTECTED: Setting(world),
            RAW: Setting(self.bared(world)),
            SHUFFLED: Setting(world.shuffled(), smoke=True),  # it fails at any budget
        }

    def bared(self, world: World) -> World:
        """The world in which nothing was protected."""
        return world.laid_open()

    def roles(self, world: World) -> Roles:
        return of_the_tested(world)

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        attacked = world.rows_of(roles.attacked)
        if not attacked.any():
            return None
        pairs = ScoredPairs.of(world, roles)
        if world.protects:
            told = np.ones_like(view.opened) if world.method.tells_findings else view.opened
            pairs = replace(pairs, told=told[attacked])
        elif world.shown is not None:
            readers = {name: rows[attacked] for name, rows in world.released.readers().items()}
            pairs = replace(pairs, opened=world.opened[attacked], readers=readers)
        return Asked(view.take(attacked), _rising.parts(Part(pairs.genuine.shape, np.float32)), pairs)

    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        heard, opened = apart(heard)
        entries = score_attack(heard, seed)
        return [{**entry, "with_keys": to_key_holders(opened, entry["attacker"], seed)} for entry in entries]

    def replicates(self, heard: Mapping[str, Heard]) -> Mapping[str, Replicates | None]:
        return replicates(heard[PROTECTED].key, heard[PROTECTED].answers)

    def shown(
        self, heard: Mapping[str, Heard], entries: Sequence[Mapping[str, Any]], seed: int
    ) -> Mapping[str, Any] | None:
        found = matches(heard[PROTECTED], entries, seed)
        return None if found is None else found.told()

    def beside(self, key: Any, world: World, roles: Roles) -> dict[str, Any]:
        return {"label_floor": label_floor(key, world.seed)}

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table:
        return linkage_table(
            "Who can be re-identified",
            entries,
            privacy["worst_case"],
            privacy["label_floor"],
            recipients=privacy.get("recipients") or (),
        )


def label_floor(pairs: ScoredPairs, seed: int) -> dict[str, Any] | None:
    """What the findings alone give away: an attacker who sees both films' true labels and no pixel.

    Of the films whose findings the adversary can read; None: of none.
    """
    if pairs.baselines is None:
        return None
    told = np.ones(len(pairs.patients), dtype=np.bool_) if pairs.told is None else pairs.told
    return {"auc": auc_of_rows(pairs.baselines.labels, pairs, told, seed)} if told.any() else None
