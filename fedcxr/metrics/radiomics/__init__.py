"""Radiomics: 93 figures of the greys and the texture of a film, inside a mask.

Six families, as pyradiomics 3 defines them (van Griethuysen et al., Cancer Research 2017) and names them: in two
dimensions, pixels of 1 mm, neighbours at distance 1, 64 bins between the darkest and the brightest pixel inside, GLCM
symmetric, and GLCM and GLRLM a mean over their four directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError
from fedcxr.metrics.radiomics._cooccurrence import cooccurrence
from fedcxr.metrics.radiomics._dependence import dependence
from fedcxr.metrics.radiomics._first_order import first_order
from fedcxr.metrics.radiomics._levels import BINS, Bools, Floats, Levels, binned
from fedcxr.metrics.radiomics._runs import runs
from fedcxr.metrics.radiomics._tones import tones
from fedcxr.metrics.radiomics._zones import zones

__all__ = ["BINS", "FAMILIES", "NAMES", "features"]

FAMILIES: Mapping[str, Callable[[Levels], dict[str, Floats]]] = {
    "firstorder": first_order,
    "glcm": cooccurrence,
    "glrlm": runs,
    "glszm": zones,
    "gldm": dependence,
    "ngtdm": tones,
}
TOGETHER = 1 << 16  # pixels that are worked on at once: more do not stay near the processor


def _table(films: npt.NDArray[np.uint8], masks: Bools) -> dict[str, Floats]:
    levels = binned(films, masks)
    return {f"{family}_{name}": one for family, told in FAMILIES.items() for name, one in sorted(told(levels).items())}


NAMES = tuple(_table(np.zeros((1, 2, 2), np.uint8), np.ones((1, 2, 2), np.bool_)))  # family_Feature


def features(films: npt.NDArray[np.uint8], masks: Bools | None = None) -> Floats:  # (n, len(NAMES))
    """Of films (n, h, w), each inside its mask, or as a whole where there are none."""
    if films.ndim != 3 or films.dtype != np.uint8:
        raise DataError(
            "radiomics are of films in 8 bit", given=f"{films.shape} {films.dtype}", allowed="(n, h, w) uint8"
        )
    masks = np.ones(films.shape, dtype=np.bool_) if masks is None else masks
    if masks.shape != films.shape or masks.dtype != np.bool_:
        raise DataError(
            "masks do not fit the films", given=f"{masks.shape} {masks.dtype}", allowed=f"{films.shape} bool"
        )
    empty = int((~masks.any(axis=(1, 2))).sum())
    if empty:
        raise DataError("nothing is inside an empty mask", given=f"{empty} of {len(films)} films", do="leave them out")
    found, step = np.empty((len(films), len(NAMES))), max(1, TOGETHER // max(1, films[0].size if len(films) else 1))
    for start in range(0, len(films), step):
        some = slice(start, start + step)
        found[some] = np.stack(list(_table(films[some], masks[some]).values()), axis=1)
    return found
