"""What figures mean, in words for somebody who has never seen an AUC, and never better news than the figures are.

An AUC is told as what it is: how often, of 100 times, the right one of two films is picked. Half of them is guessing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GUESSING = 0.5
LONGER = "What to do: let the attackers learn longer (--budget 4, or --preset default), or use more patients."
IN_BRACKETS = "guessing gets 50, and in brackets stands where the figure lies with 95 % confidence"


@dataclass(frozen=True)
class Figure:
    """A figure and the ends of its 95 % interval; what is not known is None."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Figure:
        """As it stands in result.json."""
        if told is None or told["value"] is None:
            return cls(None)
        low, high = told["ci95"] or (None, None)
        return cls(told["value"], low, high)

    def surely_above(self, bound: float) -> bool:
        """Whether the whole interval lies above; an unknown one lies nowhere."""
        return self.low is not None and self.low > bound

    @property
    def told(self) -> str:
        """In times of 100, with the interval."""
        if self.value is None:
            return "an unknown number"
        between = "interval unknown"
        if self.low is not None and self.high is not None:
            between = f"{times(self.low)} to {times(self.high)}"
        return f"{times(self.value)} of 100 ({between})"


def ended(attack: Mapping[str, Any]) -> bool | None:
    """Whether more effort would find no more; None: nobody knows. Who has no effort that could be raised has ended."""
    found: bool | None = True if attack.get("effort") is False else attack.get("converged")
    return found


def times(value: float) -> str:
    """How often of 100 times; no rounding makes a certainty of what is none."""
    whole = round(100 * value)
    return f"{min(max(100 * value, 0.1), 99.9):.1f}" if whole in (0, 100) and 0 < value < 1 else str(whole)


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def inconclusive(reasons: Sequence[tuple[str, str]]) -> list[str]:
    """What is doubtful, for everybody of whom the same is to be said: pairs of a name and a reason."""
    whose: dict[str, list[str]] = {}
    for name, reason in reasons:
        whose.setdefault(reason, []).append(name)
    return [f"Inconclusive ({'; '.join(names)}): {reason}." for reason, names in whose.items()]
