"""The keys of some sites, leaked or in the hands of sites that collude."""

from __future__ import annotations

from collections.abc import Sequence

import pydantic

from fedcxr.errors import ConfigError
from fedcxr.knowledge import Knowledge
from fedcxr.knowledge._of_codes import check_keyed
from fedcxr.methods import Method
from fedcxr.view import Holder, Thief
from fedcxr.world import World

MOST_SITES = 10_000


class Keys(Knowledge):
    """The keys of some sites: all that these released lies open."""

    sites: int = pydantic.Field(
        0, ge=0, le=MOST_SITES, description="of codes: the first so many sites' keys have leaked, or they collude"
    )

    @property
    def granted(self) -> bool:
        return self.sites > 0

    def check(self, method: Method, sites: int) -> None:
        check_keyed(self, method)
        if self.sites > sites:
            raise ConfigError("knowledge.keys is more than there are sites", given=self.sites, allowed=str(sites))

    def leaked(self, sites: Sequence[str]) -> Sequence[str]:
        """Whose keys these are."""
        return sites[: self.sites]

    def holder(self, world: World) -> Holder | None:
        leaky = self.leaked(world.sites) if world.protects else ()
        return Thief({site: world.released.key_of(site, "") for site in leaky}) if leaky else None
