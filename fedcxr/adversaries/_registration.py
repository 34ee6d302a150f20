"""How alike two films are, part by part: squares of one film looked for in the neighbourhood of their place on another.

Nothing is learnt. What two pictures of one person share is many small structures, each about where it was; posture,
breath and framing move them against each other, so that a film as a whole never fits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.models.contrast import local_contrast
from fedcxr.models.relative import relative
from fedcxr.training import to_tensor
from fedcxr.training.compute import Compute

Films = npt.NDArray[np.uint8]  # (n, h, w)
Matrix = npt.NDArray[np.float32]

SIZE = 64  # pixels of a side that films are brought to
SQUARE, APART, REACH = 16, 12, 6  # pixels: a square's side, from one square to the next, how far it is looked for
ROWS = range(0, SIZE - SQUARE + 1, APART)
# Letters and arrows stand in corners.
SQUARES = tuple((y, x) for y in ROWS for x in ROWS if not (y in (ROWS[0], ROWS[-1]) and x in (ROWS[0], ROWS[-1])))


def registered(first: Films, second: Films | None, compute: Compute) -> Matrix:  # (n, m); higher is more alike
    """All pairs, or all pairs among the first films; each square's correlations are relative to both films' others.

    So a square that looks the same on everybody counts for as little as it says.
    """
    ours = _structure(first, compute)
    theirs = ours if second is None else _structure(second, compute)
    total = np.zeros((len(ours), len(theirs)), dtype=np.float32)
    for place in SQUARES:
        found = _sought(ours, theirs, place, compute)
        back = found if second is None else _sought(theirs, ours, place, compute)
        alike = torch.maximum(found, back.T).cpu().numpy()
        if second is None:
            np.fill_diagonal(alike, np.nan)
        total += relative(alike) / len(SQUARES)
    return relative(total)


def _structure(films: Films, compute: Compute) -> Tensor:  # (n, SIZE, SIZE)
    tensor = to_tensor(films, compute)
    if tensor.shape[2:] != (SIZE, SIZE):
        tensor = F.interpolate(tensor, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    return local_contrast(tensor)[:, 0]


def _sought(ours: Tensor, theirs: Tensor, place: tuple[int, int], compute: Compute) -> Tensor:  # (n, m)
    """The best correlation of the square here with any square within reach there."""
    y, x = place
    square = _unit(ours[:, y : y + SQUARE, x : x + SQUARE])
    around = F.pad(theirs, (REACH,) * 4)[:, y : y + SQUARE + 2 * REACH, x : x + SQUARE + 2 * REACH]
    best = torch.full((len(ours), len(theirs)), -1.0, device=ours.device)
    with torch.inference_mode(), compute.autocast():
        for down in range(2 * REACH + 1):
            beside = around[:, down : down + SQUARE].unfold(2, SQUARE, 1).transpose(1, 2)  # (m, places, SQUARE, SQUARE)
            other = _unit(beside.flatten(0, 1))
            best = torch.maximum(best, (square @ other.T).unflatten(1, (len(theirs), -1)).amax(2).float())
    return best


def _unit(squares: Tensor) -> Tensor:  # (n, pixels) of mean 0 and norm 1; a plain square is like nothing
    flat = squares.flatten(1).float()
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.square().sum(1, keepdim=True).sqrt()
    return centred / length.clamp(min=1e-3)
