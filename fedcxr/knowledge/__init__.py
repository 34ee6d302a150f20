"""What a threat model grants an adversary: one file per kind of holding, as data in the scenario."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from fedcxr.data import Source
from fedcxr.methods import Method
from fedcxr.plugins import Plugin
from fedcxr.view import Array, Holder
from fedcxr.world import Roles, World


@dataclass(frozen=True)
class Holding:
    """Something the adversary holds: arrays and plain facts, which is all that reaches its process."""

    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)  # plain data


class Knowledge(Plugin):
    """One kind of thing that may be granted; its fields are keys under `knowledge:` in a scenario.

    The first field may be given alone: `knowledge: {pairs: 32}`.
    """

    before_releases: ClassVar[bool] = False  # whether it is held before anything was released, to be learnt from

    @property
    @abstractmethod
    def granted(self) -> bool:
        """Whether there is anything of it."""

    @property
    def keeps_updates(self) -> bool:
        """Whether a run must keep what each site sent in each round of learning."""
        return False

    @property
    def publishes_weights(self) -> bool:
        """Whether a site that learnt by itself must tell what, so that it can be granted or done once more."""
        return False

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where films that no hospital has come from."""
        return ()

    def resolved_for(self, sources: Sequence[Source]) -> Self:
        """The same, filled in where it depends on the hospitals' films; raises unless it fits them."""
        return self

    def check(self, method: Method, sites: int) -> None:
        """Raise unless what is granted is there to be granted, with this method and so many sites."""

    def assign(self, world: World, roles: Roles) -> Roles:
        """Who plays which part once this is granted."""
        return roles

    def holder(self, world: World) -> Holder | None:
        """Whoever has the keys that were granted; None: this grants none."""
        return None

    def held(self, world: World, roles: Roles) -> Holding | None:
        """What is handed to the adversary; None: nothing."""
        return None
