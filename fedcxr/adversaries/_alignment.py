"""How alike two films are after small moves of one of them, without anything having been learnt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.models.contrast import local_contrast
from fedcxr.training import to_tensor
from fedcxr.training.compute import Compute

Films = npt.NDArray[np.uint8]  # (n, h, w)
Likeness = npt.NDArray[np.float32]  # (n, m); higher means more alike

ZOOMS = (-0.08, 0.0, 0.08)  # natural logarithms
TURNS = (-5.0, 0.0, 5.0)  # degrees
FLAT = 1e-6  # the norm of a film without any structure, which is like no other


def aligned_correlation(
    some: Films,
    others: Films,
    compute: Compute,
    reach: float = 0.12,
    progress: Callable[[int, int], None] | None = None,
) -> Likeness:
    """The best correlation of local contrast over small shifts, turns and zooms of the second film.

    `reach` is the largest shift as a share of the side. A window fades the borders out, where a shift has no partner.
    """
    size = some.shape[-1]
    first, whole = to_tensor(some, compute), to_tensor(others, compute)
    hann = torch.hann_window(size, periodic=False, device=first.device).sqrt()
    window = hann[:, None] * hann[None]
    spectra = torch.fft.rfft2(_unit(local_contrast(first)[:, 0] * window))
    near = [place for place in range(size) if min(place, size - place) <= reach * size]
    places = torch.tensor(near, device=first.device)
    best = torch.full((len(some), len(others)), -1.0, device=first.device)
    moves = list(itertools.product(ZOOMS, TURNS))
    for done, (zoom, degrees) in enumerate(moves, 1):
        cos, sin = (math.exp(zoom) * f(math.radians(degrees)) for f in (math.cos, math.sin))
        moved = seen_from(whole, ((cos, -sin, 0.0), (sin, cos, 0.0)))
        second = torch.fft.rfft2(_unit(local_contrast(moved)[:, 0] * window)).conj()
        for row, film in enumerate(spectra):  # one at a time, to avoid holding n x m films
            surface = torch.fft.irfft2(film * second, s=(size, size))
            best[row] = torch.maximum(best[row], surface[:, places][:, :, places].amax((1, 2)))
        if progress is not None:
            progress(done, len(moves))
    return best.cpu().numpy()


def seen_from(films: Tensor, matrix: Sequence[Sequence[float]]) -> Tensor:  # (n, 1, h, w)
    """Films as somebody sees them who stands elsewhere: places on the result, moved by (2, 3), are those on a film."""
    place = torch.tensor(matrix, device=films.device).expand(len(films), 2, 3)
    grid = F.affine_grid(place, list(films.shape), align_corners=False)
    return F.grid_sample(films, grid, padding_mode="border", align_corners=False)


def _unit(films: Tensor) -> Tensor:  # (n, h, w) of mean 0 and norm 1
    centred = films - films.mean((1, 2), keepdim=True)
    return centred / centred.square().sum((1, 2), keepdim=True).sqrt().clamp(min=FLAT)
