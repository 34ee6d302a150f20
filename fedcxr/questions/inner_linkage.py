"""Are these two releases of one patient? Every released film against every other: what leaked, joined with itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from fedcxr.knowledge import Holding
from fedcxr.questions import Asked, Heard, Part, _rising
from fedcxr.questions._linkage_table import linkage_table
from fedcxr.questions._pairs import ScoredPairs
from fedcxr.questions.linkage import Linkage
from fedcxr.table import Table
from fedcxr.verdict.linkage import RELEASES
from fedcxr.view import View
from fedcxr.world import Roles, World


class InnerLinkage(Linkage):
    """Which releases are of one patient?

    Asked about releases of the test split, with no film of anybody who is attacked: whoever joins a person's releases
    learns the course of an illness, and more to recognise them by. Put only where a scenario names it.

    Controls are those of linkage, with pairs of unprotected films and with shuffled identities. The two scores of a
    pair are averaged, and each pair counts once. Across sites there is something to ask only where patients go to
    several hospitals (`partition.patient_overlap`).
    """

    knows: ClassVar[tuple[str, ...]] = ("own_films", "mechanism", "keys", "releases")
    usual: ClassVar[bool] = False

    across: Literal["any", "sites"] = pydantic.Field(
        default="any", description="which pairs count: all, or only those that two hospitals released"
    )

    def bared(self, world: World) -> World:
        return world.unprotected()

    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        attacked = world.rows_of(roles.attacked)
        pairs = ScoredPairs.among(world, roles, across=self.across == "sites")
        if not (pairs.genuine & pairs.allowed).any():
            return None
        _, sites = np.unique(pairs.sites, return_inverse=True)
        given = Holding({"sites": sites.astype(np.int64)})  # everybody sees who released what
        return Asked(view.take(attacked), _rising.parts(Part(pairs.genuine.shape, np.float32)), pairs, given)

    def shown(
        self, heard: Mapping[str, Heard], entries: Sequence[Mapping[str, Any]], seed: int
    ) -> Mapping[str, Any] | None:
        return None  # no known film was matched

    def beside(self, key: Any, world: World, roles: Roles) -> dict[str, Any]:
        return {}  # the label floor is that of linkage; this question's stands in `trust`

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table:
        title = "Which releases are of one patient" + (", across hospitals" if self.across == "sites" else "")
        return linkage_table(title, entries, privacy["worst_case"], None, RELEASES)
