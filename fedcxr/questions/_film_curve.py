"""Had an attacker who makes pictures stopped rising? Its pictures along the way, the curve through them, and the rule.

Of a few films only, evenly spaced: a curve needs no more, and all of them at every rung would fill the memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.questions import Answer, Part
from fedcxr.questions._rising import HELD_OUT, LONGEST, SHARES, STEPS
from fedcxr.view import Films, Rows

PICTURES = "pictures"
FOLLOWED = 100  # films at most
TOLERANCE_DB = 0.1

RULE = (
    "converged: the last doubling of the budget brought the pictures nearer to the films by less than "
    f"{TOLERANCE_DB:g} dB, no earlier ones are nearer by {TOLERANCE_DB:g} dB or more, and the interval of the gain "
    "over the mean film lies above 0. Null where an attacker does not train, or where it never beat the mean film: a "
    "flat line there proves nothing."
)

Gain = Callable[[Films, Rows], float | None]  # in dB over the mean film, of pictures of these films


def at(share: int) -> str:
    """What the pictures are called that were there after one part in so many of all steps."""
    return PICTURES if share == 1 else f"{PICTURES} at 1/{share}"


def followed(films: int) -> Rows:
    """The films whose pictures are told along the way."""
    return np.linspace(0, films - 1, min(films, FOLLOWED)).astype(np.intp)


def parts(shape: tuple[int, int, int]) -> dict[str, Part]:
    """Of an answer in pictures: the last ones, and what may be told of the way there."""
    few = (len(followed(shape[0])), *shape[1:])
    return {
        PICTURES: Part(shape, np.uint8),
        **{at(share): Part(few, np.uint8, optional=True) for share in SHARES[:-1]},
        STEPS: Part((), np.int64, optional=True),  # taken in all
        # The attacker's own validation at every rung, in dB over the mean film; nan where it has none.
        HELD_OUT: Part((len(SHARES),), np.float32, optional=True, gaps=True),
    }


def told(rungs: Sequence[Films], steps: int, held_out: Sequence[float | None]) -> dict[str, npt.NDArray[Any]]:
    """What an attacker says of its way: of each rung but the last its pictures of the films that are followed."""
    shares = SHARES[len(SHARES) - len(rungs) - 1 : -1]
    own = np.full(len(SHARES), np.nan, dtype=np.float32)
    own[len(SHARES) - len(held_out) :] = [np.nan if figure is None else figure for figure in held_out]
    return {
        **{at(share): pictures for share, pictures in zip(shares, rungs, strict=True)},
        STEPS: np.array(steps, dtype=np.int64),
        HELD_OUT: own,
    }


def curve(answer: Answer, gain: Gain, ci95: Sequence[float] | None) -> dict[str, Any]:
    """The rungs in ascending order, the last of which is the answer, and the verdict by RULE."""
    steps = int(answer.get(STEPS, np.int64(0)))
    if not 1 <= steps < LONGEST:
        return {"converged": None, "curve": []}
    rows = followed(len(answer[PICTURES]))
    shares = [share for share in SHARES if at(share) in answer and share <= steps]
    seen = {share: answer[PICTURES][rows] if share == 1 else answer[at(share)] for share in shares}
    gains = {share: gain(pictures, rows) for share, pictures in seen.items()}
    own = answer.get(HELD_OUT, np.full(len(SHARES), math.nan)).astype(float).tolist()
    held_out = {share: value if math.isfinite(value) else None for share, value in zip(SHARES, own, strict=True)}
    return {
        "converged": _converged(gains, ci95),
        "curve": [
            {"budget": round(steps / share), "over_mean_db": gains[share], "held_out": held_out[share]}
            for share in shares
        ],
    }


def _converged(gains: Mapping[int, float | None], ci95: Sequence[float] | None) -> bool | None:
    last, before = gains[1], gains.get(2)
    if last is None or before is None or ci95 is None or ci95[0] <= 0:
        return None
    best = max(gain for gain in gains.values() if gain is not None)
    return last - before < TOLERANCE_DB and best - last < TOLERANCE_DB
