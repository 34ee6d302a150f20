"""What every site sent in every round of a federation's learning: what an honest but curious coordinator sees."""

from __future__ import annotations

import pydantic

from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.methods import Method
from fedcxr.world import Roles, World


class Updates(Knowledge):
    """The weights that sites sent before they were combined; a run keeps them only where this is granted."""

    sent: bool = pydantic.Field(False, description="of a federation's learning: what each site sent, round by round")

    @property
    def granted(self) -> bool:
        return self.sent

    @property
    def keeps_updates(self) -> bool:
        return self.sent

    def check(self, method: Method, sites: int) -> None:
        if self.sent and (method.learning is None or method.learning.place != "federated"):
            raise ConfigError(
                "knowledge.updates is of a federation's learning, and this method has none",
                given=f"{self.sent}, with {method.plugin_name()}",
                allowed="false",
                do="remove knowledge.updates, or choose a method that learns federated",
            )

    def held(self, world: World, roles: Roles) -> Holding | None:
        """Arrays named by round, site and weight."""
        if not self.sent or not world.protects:
            return None
        return Holding(
            {
                f"{number:04}/{update.site}/{name}": array
                for number, update in world.released.shared.updates()
                for name, array in update.weights.items()
            }
        )
