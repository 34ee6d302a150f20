"""The same films released once more, under fresh keys or fresh noise: what releases of one film have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.methods import Method
from fedcxr.rng import stream
from fedcxr.view import Array
from fedcxr.world import Roles, Traces, World

MOST_OF_CODES = 2  # an attack on codes compares two; another release under a key of its own repeats what these say


class Releases(Knowledge):
    """The same films in more than one release, each under a key of its own and with noise of its own.

    A method that draws nothing at random releases the same films again.
    """

    times: int = pydantic.Field(1, ge=1, le=64, description="how often each attacked film was released; codes twice")

    @property
    def granted(self) -> bool:
        return self.times > 1

    @property
    def publishes_weights(self) -> bool:
        return self.granted  # to whoever simulates another release, and to no adversary

    def check(self, method: Method, sites: int) -> None:
        if not self.granted:
            return
        if not method.keyed and not method.repeatable:
            raise ConfigError(
                "knowledge.releases is of films or codes, and this method releases none of its hospitals' own",
                given=f"{self.times}, with {method.plugin_name()}, which releases {method.kind}",
                allowed="1",
                do="remove knowledge.releases, or choose a method that protects films",
            )
        if method.keyed and self.times > MOST_OF_CODES:
            raise ConfigError(
                "knowledge.releases of codes are two at most",
                given=f"{self.times}, with {method.plugin_name()}",
                allowed=f"1 to {MOST_OF_CODES}; films may be released up to 64 times",
            )

    def held(self, world: World, roles: Roles) -> Holding | None:
        """What is public of the attacked films in all releases but the first."""
        if not self.granted or not world.protects:
            return None
        form = "codes" if world.method.keyed else "films"
        if world.released.shared.array(form) is None:
            return None
        again = [_once_more(world, roles, form, number) for number in range(1, self.times)]
        if form == "codes":
            return Holding({"codes": again[0].astype(np.int8, copy=False)})  # (n, p, h, w)
        return Holding({"films": np.stack(again)})  # (times - 1, n, h, w)


def _once_more(world: World, roles: Roles, form: str, number: int) -> Array:
    """Another release of all that is attacked, in the order of the question."""
    traces, attacked = world.released, world.rows_of(roles.attacked)
    again = "again" if number == 1 else f"again {number}"
    here = np.split(attacked, traces.shared.ends)
    parts = [_by_site(world, traces, site, rows, form, again) for site, rows in enumerate(here) if rows.any()]
    return np.concatenate(parts)


def _by_site(world: World, traces: Traces, site: int, rows: npt.NDArray[np.bool_], form: str, again: str) -> Array:
    """What the hospital behind one release makes of these rows' films for another."""
    release = traces.shared.releases[site]
    films = np.split(traces.films, traces.shared.ends)[site][rows]
    keys, weights = traces.key_of(release.site, again), traces.shared.weights_behind(release)
    rng = stream(world.seed, "site", release.site, again)
    second = world.method.release(world.cohort.take(films), keys, weights, rng, world.context)
    return second.arrays[form]
