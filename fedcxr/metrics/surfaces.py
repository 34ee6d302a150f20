"""How well what was found on a film lies on what is there: by area, and by how far one outline lies from the other.

As MONAI defines them (DiceMetric, MeanIoU, ConfusionMatrixMetric, SurfaceDistanceMetric, HausdorffDistanceMetric), film
by film, with F what was found and T what is there, in pixels:

    dice             2 |F and T| / (|F| + |T|)
    jaccard          |F and T| / |F or T|
    false_negatives  |T without F| / |T|                  what is missed, of what is there
    false_positives  |F without T| / |all pixels not T|   what is wrongly taken for it, of what is not

An outline is every pixel of a mask with one of its four neighbours outside it, or outside the film. The distances of
each pixel of either outline to the nearest of the other one, both ways together, have a mean (`surface_mean`) and a
standard deviation (`surface_std`, over the film's own distances); `hausdorff` is the largest of them, and
`hausdorff_95` the larger of both ways' 95th percentiles. They are straight lines in pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from fedcxr.errors import DataError

Masks = npt.NDArray[np.bool_]  # (n, h, w)
Figures = npt.NDArray[np.float64]  # (n,), nan where a film does not have it
Pixels = npt.NDArray[np.intp]  # (p, 2), down and right

AREAS = ("dice", "jaccard", "false_negatives", "false_positives")
DISTANCES = ("surface_mean", "surface_std", "hausdorff", "hausdorff_95")  # in pixels
PERCENTILE = 95


def agreement(found: Masks, true: Masks) -> dict[str, Figures]:
    """Every figure by its name: nan where there is nothing to find, and distances where nothing was found either."""
    if found.shape != true.shape or found.ndim != 3:
        raise DataError("masks are compared with masks of the same shape", given=f"{found.shape} and {true.shape}")
    return _areas(found, true) | _distances(found, true)


def _areas(found: Masks, true: Masks) -> dict[str, Figures]:
    both, either, there, taken = ((m.sum(axis=(1, 2))) for m in (found & true, found | true, true, found))
    pixels = true.shape[1] * true.shape[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        told = {
            "dice": 2 * both / (taken + there),
            "jaccard": both / either,
            "false_negatives": (there - both) / there,
            "false_positives": (taken - both) / (pixels - there),
        }
    return {name: np.where(there > 0, figure, np.nan) for name, figure in told.items()}


def _distances(found: Masks, true: Masks) -> dict[str, Figures]:
    told = np.full((len(DISTANCES), len(true)), np.nan)
    for film, (one, other) in enumerate(zip(found, true, strict=True)):
        if one.any() and other.any():
            told[:, film] = _apart(outline(one), outline(other))
    return dict(zip(DISTANCES, told, strict=True))


def _apart(one: Pixels, other: Pixels) -> tuple[float, float, float, float]:
    there, back = KDTree(other).query(one)[0], KDTree(one).query(other)[0]
    ways = np.concatenate([there, back])
    most = max(np.percentile(there, PERCENTILE), np.percentile(back, PERCENTILE))
    return float(ways.mean()), float(ways.std()), float(ways.max()), float(most)


def outline(mask: npt.NDArray[np.bool_]) -> Pixels:
    """The pixels of a mask (h, w) at its edge."""
    return np.argwhere(mask & ~binary_erosion(mask))
