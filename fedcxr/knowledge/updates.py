"""What an honest but curious coordinator sees of a federation's learning: its end, every round, every site's update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pydantic

from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.methods import Method
from fedcxr.release import Release
from fedcxr.view import Shared
from fedcxr.world import Roles, World

TOGETHER = "together"  # in place of a site: what a round made of all updates; round 0 is where all began


class Updates(Knowledge):
    """Weights of a federation in between; a run keeps what each site sent only where this is granted."""

    seen: Literal["model", "rounds", "sites"] = pydantic.Field(
        "model",
        description="the model that was learnt, which is what is shared; what every round made of all updates, too; "
        "and what each site sent in every round",
    )

    @property
    def granted(self) -> bool:
        return self.seen != "model"

    @property
    def keeps_updates(self) -> bool:
        return self.seen == "sites"

    def check(self, method: Method, sites: int) -> None:
        if self.granted and (method.learning is None or method.learning.place != "federated"):
            raise ConfigError(
                "knowledge.updates is of a federation's learning, and this method has none",
                given=f"{self.seen}, with {method.plugin_name()}",
                allowed="model",
                do="remove knowledge.updates, or choose a method that learns federated",
            )

    def held(self, world: World, roles: Roles) -> Holding | None:
        """Arrays named by round, site and weight."""
        if not self.granted or not world.protects:
            return None
        return Holding(
            {
                f"{number:04}/{who}/{name}": array
                for number, who, update in self._seen(world.released.shared)
                for name, array in update.weights.items()
            }
        )

    def _seen(self, shared: Shared) -> Iterator[tuple[int, str, Release]]:
        yield from ((number, TOGETHER, made) for number, made in shared.rounds())
        if self.keeps_updates:
            yield from ((number, update.site, update) for number, update in shared.updates())
