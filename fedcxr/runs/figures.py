"""All figures of a result by name, such as `privacy.attacks.linkage.verifier.fused.auc`, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fedcxr.verdict import Figure

PARTS = ("utility", "privacy", "cost")
NOT_OF_FIGURES = ("seconds", "peak_rss_mb", "curve", "wall_s")  # which differ from run to run of one scenario
# What tells the entries of a list from each other, as far as they have it.
NAMES = ("question", "adversary", "attacker", "role", "name", "batch", "when", "trait", "is")


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Utility, privacy and cost, but for times; what is null is a figure that is unknown."""
    return dict(found for part in PARTS for found in _below(part, result.get(part)))


def _below(name: str, told: Any) -> Iterator[tuple[str, Figure]]:
    if isinstance(told, Mapping) and "value" in told:
        yield name, Figure(told["value"], *(told.get("ci95") or ()))
    elif isinstance(told, Mapping):
        for part, below in told.items():
            if part not in NOT_OF_FIGURES:
                yield from _below(f"{name}.{part}", below)
    elif isinstance(told, list):
        for place, entry in enumerate(told):
            if isinstance(entry, Mapping):
                own = [str(entry[key]) for key in NAMES if entry.get(key) not in (None, "")]
                rest = {key: below for key, below in entry.items() if key not in NAMES}
                yield from _below(".".join([name, *(own or [str(place)])]), rest)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        yield name, Figure(float(told))
    elif told is None:
        yield name, Figure(None)
