"""Had an attacker stopped rising? Its answers along the way, the curve through them, and the rule that judges it.

Whoever trains goes up a ladder of budgets, each twice the one before, and may answer at every rung: `scores at 1/2` is
what it answers after half of the steps that it took in all. Nothing of this is believed for an attacker's own good: a
figure of its own that is none is left out, and an answer along the way can only show that the last one is no end.
Whoever takes no steps, because what it answers follows at once from all that it holds, says 0 steps: it has no effort
that could be raised. Whoever says nothing may have, and nobody has looked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.questions import Answer, Part

SHARES = (64, 32, 16, 8, 4, 2, 1)  # rungs of the ladder: 1/64 of all steps, 1/32, ..., all
TOLERANCE = 0.01  # of an AUC
LONGEST = 1 << 53  # steps; more is no number of steps
SCORES, STEPS, HELD_OUT, AGAIN = "scores", "steps", "held_out", "scores again"

RULE = (
    f"converged: the last doubling of the budget raised the AUC by less than {TOLERANCE:g}, no earlier answer is "
    f"better by {TOLERANCE:g} or more, and the AUC's interval lies above .5. Null where an attacker does not train, or "
    "where it never rose from chance: a flat line at chance proves nothing. `effort` is false where an attacker has "
    "none that could be raised, because its answer follows at once from all that it holds. A worst case that is "
    "neither, or that another attacker who still rises may pass, is a lower bound."
)

Measure = Callable[[npt.NDArray[Any]], float | None]  # the AUC of scores


def at(share: int) -> str:
    """What the answer is called that was there after one part in so many of all steps."""
    return SCORES if share == 1 else f"{SCORES} at 1/{share}"


def parts(scores: Part) -> dict[str, Part]:
    """Of an answer to a question for attackers who train: its end, and what may be told of the way there."""
    earlier = {at(share): Part(scores.shape, scores.dtype, optional=True) for share in SHARES[:-1]}
    return {
        SCORES: scores,
        **earlier,
        STEPS: Part((), np.int64, optional=True),  # taken in all; 0: see above
        # The attacker's own validation figure at every rung, an AUC; nan where it has none.
        HELD_OUT: Part((len(SHARES),), np.float32, optional=True, gaps=True),
        AGAIN: Part(scores.shape, scores.dtype, optional=True),  # the same attack from another seed
    }


@dataclass(frozen=True)
class Rung:
    """What a budget was worth."""

    budget: int  # steps
    auc: float | None
    held_out: float | None  # of the attacker's own validation


@dataclass(frozen=True)
class Curve:
    """The rungs in ascending order, the last of which is the answer; empty for who does not train."""

    rungs: tuple[Rung, ...] = ()
    converged: bool | None = None
    effort: bool | None = None  # whether there is one to be raised; None: nobody said
    rising: bool | None = None  # whether the attacker's own validation rose in the last doubling; None: it has none

    @property
    def figures(self) -> dict[str, Any]:
        """As they stand in result.json."""
        told = [{"budget": rung.budget, "auc": rung.auc, "held_out": rung.held_out} for rung in self.rungs]
        return {"converged": self.converged, "effort": self.effort, "curve": told}


def curve(answer: Answer, auc: float | None, ci95: Sequence[float] | None, measure: Measure) -> Curve:
    """Of an answer whose AUC is `auc`; `measure` is asked for those along the way."""
    if effortless(answer):
        return Curve(effort=False)
    steps = int(answer.get(STEPS, np.int64(0)))
    if not 1 <= steps < LONGEST:
        return Curve()
    held_out = _held_out(answer)
    shares = [share for share in SHARES if at(share) in answer and share <= steps]
    rungs = tuple(
        Rung(
            budget=round(steps / share),
            auc=auc if share == 1 else measure(answer[at(share)]),
            held_out=held_out[SHARES.index(share)],
        )
        for share in shares
    )
    before, last = held_out[-2:]
    rising = None if before is None or last is None else last - before >= TOLERANCE
    return Curve(rungs, _converged(rungs, shares, ci95), True, rising)


WITHOUT_EFFORT: Answer = {STEPS: np.array(0, dtype=np.int64)}  # what whoever takes no steps adds to an answer


def effortless(answer: Answer) -> bool:
    """Whether an attacker says that it has no effort that could be raised."""
    return STEPS in answer and int(answer[STEPS]) == 0


def _converged(rungs: Sequence[Rung], shares: Sequence[int], ci95: Sequence[float] | None) -> bool | None:
    """RULE."""
    last, earlier = rungs[-1].auc, [rung.auc for rung in rungs[:-1] if rung.auc is not None]
    if last is None or not earlier or 2 not in shares or ci95 is None or ci95[0] <= 0.5:
        return None
    return last - earlier[-1] < TOLERANCE and max(earlier) - last < TOLERANCE


def _held_out(answer: Answer) -> list[float | None]:
    """What the attacker says of its own validation, where that can be an AUC."""
    told = answer.get(HELD_OUT, np.full(len(SHARES), math.nan)).astype(float).tolist()
    return [value if 0 <= value <= 1 else None for value in told]


def verdict(entry: Mapping[str, Any]) -> str:
    """In a word for people; nothing where there is nothing to be said."""
    if entry["converged"] is False:
        return "still rising"
    return "never rose" if entry["converged"] is None and len(entry["curve"]) > 1 else ""
