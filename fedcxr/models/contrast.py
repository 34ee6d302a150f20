"""Films without what exposure and the printing press did to them: structure relative to its surroundings."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_FAINT = 1e-3  # a square of grey levels in [0, 1]: fainter structure than about 8 of 255 stays faint


def local_contrast(films: Tensor, share: float = 1 / 16) -> Tensor:  # (n, 1, h, w) in [0, 1] -> about 0, deviation 1
    """Each pixel's distance from the mean around it, in local standard deviations.

    Around means a Gaussian whose standard deviation is `share` of the film's height.
    """
    deviation = share * films.shape[-2]
    centred = films - blurred(films, deviation)
    return centred / (blurred(centred.square(), deviation) + _FAINT).sqrt()


def blurred(films: Tensor, deviation: float) -> Tensor:  # (n, 1, h, w), unchanged in range
    """Films under a Gaussian of so many pixels, their edges repeated."""
    reach = max(1, math.ceil(2 * deviation))
    offsets = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (offsets / deviation).square())
    weights: list[float] = (kernel / kernel.sum()).tolist()
    across = _weighed(F.pad(films, (reach, reach, 0, 0), mode="replicate"), weights, axis=3)
    return _weighed(F.pad(across, (0, 0, reach, reach), mode="replicate"), weights, axis=2)


def _weighed(films: Tensor, weights: list[float], axis: int) -> Tensor:
    """Sums of neighbours along an axis: on one channel a third of a convolution's time, and the same sums."""
    size = films.shape[axis] - len(weights) + 1
    total = films.narrow(axis, 0, size) * weights[0]
    for place, weight in enumerate(weights[1:], 1):
        total.add_(films.narrow(axis, place, size), alpha=weight)
    return total
