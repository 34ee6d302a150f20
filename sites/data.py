"""The films this hospital holds, opened where they lie."""

from __future__ import annotations

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.errors import Refused
from fedcxr.scenario import Scenario


def own_films(scenario: Scenario, site: str) -> Cohort:
    """This site's own films, and nobody else's: those lie in another building."""
    source = scenario.own_sources.get(site)
    if source is None:
        raise Refused(
            "a hospital has films of its own, and takes no share of one cohort",
            given=f"sites: {len(scenario.site_names)}",
            allowed="sites that name the source of each one's films",
        )
    return source.open(cache_folder())
