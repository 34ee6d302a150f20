"""Weights that come from somebody else, looked at in one place before anything is computed with them.

Sites look at what the coordinator sends, the server at what each site answers: by the same bounds, so that what one
of them lets through does not end the work of the other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fedcxr.errors import Refused

# Networks at work hold weights of a few tens, variances among them. In training, where every layer is normalised, such
# weights keep all sums within float32; what is useful is another question, which strategies that mistrust sites answer.
LARGEST = 1e4
LONGEST_STEP = 1e3  # of any weight in one round

BLOCK = 1 << 16  # weights at a time

STATISTICS = ("running_mean", "running_var")  # how names end of what a layer knows of films, and no step was taken on

Arrays = Mapping[str, npt.NDArray[np.generic]]


def check_weights(weights: Arrays, of: str) -> None:
    """Refuse weights that are no numbers, or numbers no training ends at; `of` says whose they are."""
    for name, array in weights.items():
        if array.dtype.kind != "f" or not array.size:  # whole numbers count films and pixels: their users look at them
            continue
        least, most = float(array.min()), float(array.max())  # NaN, if there is one, is both
        if not (least >= -LARGEST and most <= LARGEST):
            raise Refused(
                f"weights of {of} are not finite, or too large to compute with",
                given=f"{name}: {least:.3g} to {most:.3g}",
                allowed=f"-{LARGEST:g} to {LARGEST:g}",
            )
        if least < 0 and name.endswith(STATISTICS[1]):
            raise Refused(f"a variance of {of} is negative", given=f"{name}: {least:.3g}", allowed="0 or more")


def check_alike(weights: Arrays, known: Arrays, of: str) -> None:
    """Refuse weights of other names, shapes or types than those that are known."""
    given, allowed = _told(weights), _told(known)
    for name in sorted(given.keys() | allowed.keys()):
        if given.get(name) != allowed.get(name):
            raise Refused(
                f"weights of {of} are of another network",
                given=f"{name}: {given.get(name, 'missing')}",
                allowed=allowed.get(name, "none of this name"),
            )


def check_update(update: Arrays, start: Arrays, of: str) -> None:
    """Refuse an update that is not of the weights it starts from, or that goes further than a round can."""
    check_alike(update, start, of)
    check_weights(update, of)
    for name, array in update.items():
        if array.dtype.kind == "f" and array.size:
            step = _longest_step(array.ravel(), start[name].ravel())
            if not step <= LONGEST_STEP:
                raise Refused(
                    f"an update of {of} goes too far in one round",
                    given=f"{name}: {step:.3g}",
                    allowed=f"up to {LONGEST_STEP:g}",
                )


def _longest_step(array: npt.NDArray[np.generic], start: npt.NDArray[np.generic]) -> float:
    """Of any weight, in double precision; block by block, or what is computed for it takes more memory than both."""
    blocks = (slice(begin, begin + BLOCK) for begin in range(0, array.size, BLOCK))
    steps = [np.abs(array[block].astype(np.float64) - start[block].astype(np.float64)).max() for block in blocks]
    return float(np.max(steps))  # NaN, if there is one


def _told(weights: Arrays) -> dict[str, str]:
    return {name: f"{array.shape} {array.dtype.name}" for name, array in weights.items()}
