"""All figures of a result by name, such as `privacy.attacks.linkage.verifier.fused.auc`, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedcxr.verdict import Figure

PARTS = ("utility", "privacy", "cost")
CURVE = "curve"
NOT_OF_FIGURES = ("seconds", "peak_rss_mb", CURVE, "wall_s")  # which differ from run to run of one scenario
# What tells the entries of a list from each other, as far as they have it.
NAMES = ("question", "adversary", "attacker", "role", "name", "batch", "when", "trait", "is")


def figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """Utility, privacy and cost, but for times; what is null is a figure that is unknown."""
    return dict(found for part in PARTS for found in _below(part, result.get(part)))


def curves(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """What was reached on the way, by the same names: points over a `budget` or a `round`."""
    return dict(found for part in PARTS for found in _on_the_way(part, result.get(part)))


def _below(name: str, told: Any) -> Iterator[tuple[str, Figure]]:
    if isinstance(told, Mapping) and "value" in told:
        low, high = told.get("ci95") or (None, None)
        yield name, Figure(*(None if one is None else float(one) for one in (told["value"], low, high)))
    elif isinstance(told, Mapping | list):
        for _, own, below in _parts(name, told, NOT_OF_FIGURES):
            yield from _below(own, below)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        yield name, Figure(float(told))
    elif told is None:
        yield name, Figure(None)


def _on_the_way(name: str, told: Any) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    if isinstance(told, Mapping | list):
        for part, own, below in _parts(name, told):
            if part == CURVE and isinstance(below, list):
                yield name, [point for point in below if isinstance(point, Mapping)]
            else:
                yield from _on_the_way(own, below)


def _parts(name: str, told: Mapping[str, Any] | list[Any], but: Sequence[str] = ()) -> Iterator[tuple[str, str, Any]]:
    """What is in it, each with its key and its whole name; an entry of a list is called by what it says of itself."""
    if isinstance(told, Mapping):
        yield from ((part, f"{name}.{part}", below) for part, below in told.items() if part not in but)
        return
    for place, entry in enumerate(told):
        if isinstance(entry, Mapping):
            said = [str(entry[key]) for key in NAMES if entry.get(key) not in (None, "")]
            rest = {key: below for key, below in entry.items() if key not in NAMES}
            yield "", ".".join([name, *(said or [str(place)])]), rest
