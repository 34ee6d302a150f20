"""Rungs of an attacker's training, on their way to another process and into its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fedcxr.adversaries._examination import Scores
from fedcxr.adversaries._training import Team
from fedcxr.questions import Answer
from fedcxr.questions._rising import HELD_OUT, SCORES, SHARES, STEPS, at
from fedcxr.training import arrays_of, loaded
from fedcxr.training.rising import Rung, best
from fedcxr.view import Weights

_FIGURES = "figures"


def kept(rungs: Sequence[Rung[Team]]) -> Weights:
    """Rungs as arrays, for those who go on from them in another process."""
    arrays: Weights = {}
    for rung in rungs:
        arrays |= {f"{rung.steps}/{name}": array for name, array in arrays_of(rung.network).items()}
        if rung.figures is not None:
            arrays[f"{rung.steps}/{_FIGURES}"] = np.array(rung.figures)
    return arrays


def recalled(arrays: Weights, team: Callable[[], Team]) -> list[Rung[Team]]:
    """What `kept` wrote, lowest first."""
    by_rung: dict[int, Weights] = {}
    for path, array in arrays.items():
        rung, _, name = path.partition("/")
        by_rung.setdefault(int(rung), {})[name] = array
    found = []
    for steps, weights in sorted(by_rung.items()):
        figures = weights.pop(_FIGURES, None)
        judged = None if figures is None else tuple(float(figure) for figure in figures)
        found.append(Rung(steps, loaded(team(), weights), judged))
    return found


def told(
    rungs: Sequence[Rung[Team]], score: Callable[[Team], Scores], figure: Callable[[Rung[Team]], float | None]
) -> Answer:
    """An attacker's answer: that of the rung which its own people like best, and all those along the way."""
    scores = [score(rung.network) for rung in rungs]
    chosen = next(place for place, rung in enumerate(rungs) if rung is best(rungs))
    figures = [figure(rung) for rung in rungs]
    held_out = np.full(len(SHARES), np.nan, dtype=np.float32)
    held_out[len(SHARES) - len(rungs) :] = [np.nan if told is None else told for told in figures]
    return {
        **{at(2 ** (len(rungs) - 1 - place)): earlier for place, earlier in enumerate(scores[:-1])},
        SCORES: scores[chosen],
        STEPS: np.array(rungs[-1].steps),
        HELD_OUT: held_out,
    }
