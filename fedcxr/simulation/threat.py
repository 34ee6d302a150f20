"""What the adversary of a simulation owns, is granted and is asked: the scenario's threat model, put into films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fedcxr.adversaries import Leak
from fedcxr.knowledge import Holding
from fedcxr.learning import Report
from fedcxr.questions import PROTECTED, Asked, Question, Setting
from fedcxr.release import AnswerKey
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.view import Holder, Shared, View
from fedcxr.world import Bools, Roles, World


@dataclass(frozen=True)
class Put:
    """One question as it is put in one world."""

    setting: Setting
    roles: Roles
    leak: Leak
    asked: Asked


@dataclass(frozen=True)
class Threat:
    """Puts the scenario's questions to adversaries who know what it grants them."""

    experiment: Experiment
    reports: Sequence[Report] = ()  # what sites told of their learning

    @property
    def scenario(self) -> Scenario:
        return self.experiment.scenario

    def settings(self, question: str, shared: Shared | None = None) -> Mapping[str, Setting]:
        """The worlds in which a question is put, by name."""
        return self.scenario.questions[question].settings(self.experiment.world(shared, self.reports))

    def owned(self, question: str, world: World) -> dict[str, Holding]:
        """What an adversary who is asked this holds before anything is released."""
        asked = self.scenario.questions[question]
        return self._held(asked, world, self._roles(asked, world), early=True)

    def put(self, shared: Shared) -> dict[str, dict[str, Put]]:
        """Every question in all its worlds, by names; none where there is nothing to ask."""
        settings = {name: self.settings(name, shared) for name in self.scenario.questions}
        views: dict[tuple[int, bool, int, tuple[str, ...]], View] = {}  # what is seen is the same in most worlds
        found: dict[str, dict[str, Put]] = {}
        for name, question in self.scenario.questions.items():
            found[name] = {}
            for where, setting in settings[name].items():
                world = setting.world
                seen = (id(world.released.shared), world.protects, id(world.shown), tuple(question.knows))
                if seen not in views:
                    views[seen] = world.view(self._holder(question, world))
                one = self._put(question, setting, views[seen])
                if one is not None:
                    found[name][where] = one
            if PROTECTED not in found[name]:
                found[name] = {}  # controls of what cannot be asked would prove nothing
        return found

    def _put(self, question: Question, setting: Setting, view: View) -> Put | None:
        world = setting.world
        roles = self._roles(question, world)
        held = self._held(question, world, roles, early=True) | self._held(question, world, roles, early=False)
        asked = question.ask(world, roles, view, held)
        if asked is None:
            return None
        return Put(setting, roles, Leak(asked.view, held, asked.given), asked)

    def _roles(self, question: Question, world: World) -> Roles:
        roles = question.roles(world)
        for kind in question.knows:
            roles = self.scenario.knowledge[kind].assign(world, roles)
        return roles

    def _holder(self, question: Question, world: World) -> Holder | None:
        holders = (self.scenario.knowledge[kind].holder(world) for kind in question.knows)
        return next((holder for holder in holders if holder is not None), None)

    def _held(self, question: Question, world: World, roles: Roles, *, early: bool) -> dict[str, Holding]:
        known = {kind: self.scenario.knowledge[kind] for kind in question.knows}
        held = {kind: one.held(world, roles) for kind, one in known.items() if one.before_releases is early}
        return {kind: holding for kind, holding in held.items() if holding is not None}

    def answers(self, shared: Shared, attacked: Bools) -> AnswerKey:
        """Who is who, by release and row; a row that belongs to nobody has no film and no patient."""
        world = self.experiment.world(shared)
        rows, index = world.released.films, world.cohort.index
        real = rows >= 0
        named = {
            column: np.where(real, index[column].to_numpy(dtype=object)[rows], "") for column in ("patient", "source")
        }
        places = [np.arange(len(release)) for release in shared.releases]
        return AnswerKey(
            pd.DataFrame(
                {
                    "site": world.released.sites,
                    "row": np.concatenate(places) if places else np.zeros(0, dtype=int),
                    "film": rows,
                    **named,
                    "attacked": world.rows_of(attacked),
                }
            )
        )
