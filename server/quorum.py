"""How many sites a run needs, and what is noted of those that are not among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.errors import TooFewSites
from fedcxr.scenario import Scenario


def require_quorum(scenario: Scenario, reasons: Mapping[str, str], asked: Sequence[str] | None = None) -> None:
    """Raise unless enough of the sites that were asked, or of all, are left when these, for these reasons, are not."""
    names = scenario.site_names if asked is None else asked
    sites, needed = len(names), scenario.needed_of(len(names))
    if sites - len(reasons) < needed:
        raise TooFewSites(
            "too few sites released anything",
            given=f"{sites - len(reasons)} of {sites}; "
            + "; ".join(f"{site}: {reasons[site]}" for site in names if site in reasons),
            allowed=f"at least {needed} (min_sites)",
        )


def no_release(
    status: str,
    reason: str | None,
    patients: int | None = None,
    images: int | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """What a run notes of a site whose release it does not have."""
    return {
        "patients": patients,
        "images": images,
        "released": None,
        "complaints": None,
        "bytes_released": None,
        "seconds": seconds,
        "status": status,
        "reason": reason,
    }
