"""What is left of a risk above its control: (attack - control) / (1 - control), or why that cannot be said.

This is how Giomi et al. (2023) define the risk that a release adds to what could be guessed without it. It is refused
where an attack is not surely better than its control: then nothing was measured, which is not a risk of none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedcxr.table import figure, span
from fedcxr.verdict import Figure


@dataclass(frozen=True)
class Residual:
    """A share of what the control leaves to be found, between 0 and 1; or None, and why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    refused_because: str | None = None

    def told(self) -> dict[str, Any]:
        ends = None if self.low is None or self.high is None else [self.low, self.high]
        return {"value": self.value, "ci95": ends, "refused_because": self.refused_because}

    @classmethod
    def refused(cls, because: str) -> Residual:
        return cls(None, refused_because=because)


def residual(attack: Figure, control: float | None, gain: Figure | None = None) -> Residual:
    """Of an attack's rate of success. `gain` is by how much it exceeds the control, where that was measured in pairs.

    The interval is the attack's, or that of the gain; the control is taken as it stands.
    """
    if attack.value is None:
        return Residual.refused("the attack has no figure")
    if control is None:
        return Residual.refused("the control has no figure")
    if control >= 1:
        return Residual.refused("the control alone is always right, which leaves nothing to add")
    if gain is None:
        gain = Figure(attack.value - control, _less(attack.low, control), _less(attack.high, control))
    if gain.value is None or gain.low is None or gain.high is None:
        return Residual.refused(f"the attack's {figure(attack.value)} has no interval: there are too few patients")
    if gain.low <= 0:
        return Residual.refused(
            f"the attack's {shown(attack)} is not surely better than its control's {figure(control)}"
        )
    value, low, high = (min(one / (1 - control), 1.0) for one in (gain.value, gain.low, gain.high))
    return Residual(value, low, high)


def shown(found: Figure) -> str:
    """A figure with its interval."""
    ends = None if found.low is None or found.high is None else (found.low, found.high)
    return f"{figure(found.value)} ({span(ends)})"


def over_seeds(found: Sequence[Figure]) -> Figure:
    """The mean, and an interval that no seed's own reaches out of; None where a seed has none."""
    known = [one for one in found if one.value is not None]
    if not known:
        return Figure(None)
    value = statistics.fmean(one.value for one in known if one.value is not None)
    lows, highs = [one.low for one in known], [one.high for one in known]
    if None in lows or None in highs:
        return Figure(value)
    return Figure(value, min(low for low in lows if low is not None), max(high for high in highs if high is not None))


def together(groups: Sequence[tuple[int, Figure]]) -> Figure:
    """The mean of groups of other people each, from so many films and the mean of each.

    The interval is recovered from theirs (MOVER, Zou and Donner 2008): groups are independent of each other.
    """
    films = sum(count for count, _ in groups)
    if not films or any(one.value is None for _, one in groups):
        return Figure(None)
    shares = [(count / films, one) for count, one in groups]
    value = sum(share * (one.value or 0.0) for share, one in shares)
    if any(one.low is None or one.high is None for _, one in groups):
        return Figure(value)
    below = math.hypot(*(share * ((one.value or 0.0) - (one.low or 0.0)) for share, one in shares))
    above = math.hypot(*(share * ((one.high or 0.0) - (one.value or 0.0)) for share, one in shares))
    return Figure(value, value - below, value + above)


def _less(end: float | None, control: float) -> float | None:
    return None if end is None else end - control
