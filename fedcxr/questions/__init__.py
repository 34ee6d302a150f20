"""What an adversary is asked, and how its answer is scored: one file per question."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedcxr.knowledge import Holding
from fedcxr.metrics.paired import Replicates
from fedcxr.plugins import Plugin
from fedcxr.table import Table, own_entries
from fedcxr.view import View
from fedcxr.world import Roles, World

PROTECTED = "protected"  # the world that is; all others are controls


@dataclass(frozen=True)
class Part:
    """An array of an answer."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    optional: bool = False  # whether an attacker may answer without it
    gaps: bool = False  # whether nan may stand for a number that there is not


Answer = Mapping[str, npt.NDArray[Any]]  # by part
Answers = Mapping[str, Answer]  # by attacker


@dataclass(frozen=True)
class Asked:
    """A question put in one world: what the adversary is shown, what it must answer, and what only the scorer keeps."""

    view: View  # of what was released: the rows that are asked about
    parts: Mapping[str, Part]  # of an answer
    key: Any  # whatever the question needs to score answers
    given: Holding | None = None  # what comes with the question, beside what is known


@dataclass(frozen=True)
class Setting:
    """In which world a question is put, and how much of its budget an adversary spends there."""

    world: World
    smoke: bool = False


@dataclass(frozen=True)
class Heard:
    """What came of a question in one world."""

    key: Any
    answers: Answers
    seconds: float


class Question(Plugin):
    """Its fields are keys under `questions:` in a scenario; adversaries say which questions they answer."""

    section: ClassVar[str] = "attacks"  # where in `privacy` of result.json its entries stand
    bounds: ClassVar[tuple[str, ...]] = ()  # figures of an entry with intervals, to which a study may set a bound
    usual: ClassVar[bool] = True  # whether it is put where a scenario names no questions, to whoever answers it
    rules: ClassVar[tuple[str, ...]] = ()  # by which its entries are judged, in words
    knows: ClassVar[tuple[str, ...]] = ()  # the kinds of knowledge that are handed over with it, by name

    def settings(self, world: World) -> Mapping[str, Setting]:
        """The worlds in which it is put, by name: the one that is, and its controls."""
        return {PROTECTED: Setting(world)}

    @abstractmethod
    def roles(self, world: World) -> Roles:
        """Who plays which part, before anything is granted."""

    @abstractmethod
    def ask(self, world: World, roles: Roles, view: View, held: Mapping[str, Holding]) -> Asked | None:
        """What is asked once the sites have released and the adversary sees this; None: there is nothing to ask."""

    @abstractmethod
    def score(self, heard: Mapping[str, Heard], seed: int) -> list[dict[str, Any]]:
        """One entry per attacker, from its answers in all worlds; `adversary` and `question` are added to it."""

    def replicates(self, heard: Mapping[str, Heard]) -> Mapping[str, Replicates | None]:
        """Of each attacker's AUC, by which policies are compared patient by patient; empty: they are not."""
        return {}

    def shown(
        self, heard: Mapping[str, Heard], entries: Sequence[Mapping[str, Any]], seed: int
    ) -> Mapping[str, Any] | None:
        """What of one attacker's answers is drawn for people, as plain data; None: nothing."""
        return None

    def beside(self, key: Any, world: World, roles: Roles) -> dict[str, Any]:
        """Figures that need no adversary and stand beside its entries under `privacy`."""
        return {}

    def table(self, entries: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> Table | None:
        """What people are shown of its entries; None: nothing. Here: what is asked, and each attacker's AUC."""
        return own_entries((inspect.getdoc(type(self)) or self.plugin_name()).split("\n")[0], entries)


def of_the_tested(world: World) -> Roles:
    """The people of the test split are attacked; all others are the adversary's own."""
    tested, nobody = world.tested, no_film(world)
    return Roles(attacked=tested, owned=~tested, known=nobody, member=nobody)


def no_film(world: World) -> npt.NDArray[np.bool_]:
    """A part that nobody plays."""
    return np.zeros(len(world.cohort), dtype=np.bool_)
