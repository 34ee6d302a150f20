"""Who answers questions about releases: one file per adversary, each given only what leaked and what it is granted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from fedcxr.knowledge import Holding
from fedcxr.knowledge.mechanism import method_in, taught_in
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Form, Method
from fedcxr.plugins import Plugin
from fedcxr.questions import Answers
from fedcxr.view import Films, View, Weights

if TYPE_CHECKING:
    from fedcxr.adversaries._location import Location
    from fedcxr.training.compute import Compute

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


@dataclass(frozen=True)
class Leak:
    """All an adversary holds: nothing else reaches its process."""

    view: View  # the rows that are asked about, as they were released
    holdings: Mapping[str, Holding]  # what is granted beside them, by kind of knowledge
    given: Holding | None = None  # what comes with the question

    @property
    def own(self) -> Owned:
        """Clean films of people who are not attacked."""
        arrays: Mapping[str, Any] = self.holdings["own_films"].arrays
        return Owned(**arrays)

    @property
    def known(self) -> Films:  # (m, h, w)
        """Real films of the people who are attacked, from elsewhere."""
        return np.asarray(self.holdings["known_films"].arrays["films"], dtype=np.uint8)

    @property
    def mechanism(self) -> Method | None:
        """The method as the adversary may run it on its own films; None: not known."""
        held = self.holdings.get("mechanism")
        return None if held is None else method_in(held)

    @property
    def taught(self) -> tuple[Weights, ...]:
        """What the mechanism learnt, once for each place where it did; nothing, once, where it learnt nothing."""
        held = self.holdings.get("mechanism")
        return ({},) if held is None else taught_in(held)


class Adversary(Plugin):
    """Answers questions; its fields are keys under `adversaries:` in a scenario."""

    answers: ClassVar[tuple[str, ...]] = ("linkage",)  # the questions it answers, by name
    reads: ClassVar[frozenset[Form]] = frozenset({"films"})  # of what a method's recipients can make of its releases

    lends: ClassVar[bool] = True  # whether what it has prepared may be kept for other runs

    @property
    def location(self) -> Location | None:
        """Where its code lies, if that is not ours: what its own process may read of it."""
        return None

    def described(self, *, weaker: bool) -> Self:
        """The same, known well enough to be asked what it answers; `weaker`: even where no kernel fences it in."""
        return self

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        """Its attackers that run the method on films of their own, so that `knowledge.mechanism` must be granted."""
        return ()

    def prepare(self, own: Owned, seed: int, compute: Compute, progress: Progress) -> Weights:
        """What can be learnt before anything leaked; shared by every attack with the same films and identities."""
        return {}

    def on_smoke_budget(self) -> Self:
        """The same adversary on a smoke budget: the control with shuffled identities fails at any budget."""
        return self

    @abstractmethod
    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        """One answer per attacker, for instance `naive` and `retrained`; none from those that have nothing to say."""
