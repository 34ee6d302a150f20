"""Pictures of a film as another tube, another posture and another publisher would have made them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.models.contrast import blurred


@dataclass(frozen=True)
class Augmentation:
    """The largest change of each kind; a film's own is drawn evenly up to it, in either direction.

    Never a mirror image: on which side the heart lies is anatomy.
    """

    degrees: float = 8.0
    zoom: float = 0.12  # natural logarithm of the factor
    stretch: float = 0.06  # natural logarithm; the width grows as the height shrinks
    shift: float = 0.06  # share of the film's side
    gamma: float = 0.5  # natural logarithm of the exponent
    blur: float = 1.0  # share of a film that is replaced by its blur of one pixel
    noise: float = 0.03  # standard deviation, of grey levels in [0, 1]
    boxes: int = 2  # plain rectangles, each there or not: letters and arrows must not be relied on

    def __call__(self, films: Tensor, rng: np.random.Generator) -> Tensor:  # (n, 1, h, w) in [0, 1]
        """Every film changed on its own."""
        changed = self._moved(films, rng)
        changed = changed.clamp(1e-4, 1) ** torch.exp(self.gamma * _each(films, rng, -1, 1))
        # Half of the films or so keep their sharpness, and half get no noise.
        changed = torch.lerp(changed, blurred(changed, 1.0), self.blur * _each(films, rng, -0.5, 1).clamp(min=0))
        if self.noise:  # a number per pixel, which would cost as much if nothing came of it
            grain = torch.from_numpy(rng.standard_normal(tuple(films.shape), dtype=np.float32)).to(films.device)
            changed = changed + grain * self.noise * _each(films, rng, -0.5, 1).clamp(min=0)
        for _ in range(self.boxes):
            changed = _boxed(changed, rng)
        return changed.clamp(0, 1)

    def _moved(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        angle = math.radians(self.degrees) * _each(films, rng, -1, 1).flatten()
        zoom = torch.exp(self.zoom * _each(films, rng, -1, 1)).flatten()
        stretch = torch.exp(self.stretch * _each(films, rng, -1, 1)).flatten()
        # affine_grid measures in half sides.
        right, down = (2 * self.shift * _each(films, rng, -1, 1).flatten() for _ in range(2))
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        rows = [torch.stack([cos * stretch, -sin, right], 1), torch.stack([sin, cos / stretch, down], 1)]
        with torch.autocast(films.device.type, enabled=False):  # bf16 would round places to half a pixel
            grid = F.affine_grid(torch.stack(rows, 1), list(films.shape), align_corners=False)
        return F.grid_sample(films, grid, padding_mode="border", align_corners=False)


def _each(films: Tensor, rng: np.random.Generator, low: float, high: float) -> Tensor:  # (n, 1, 1, 1)
    """A number for every film."""
    drawn = rng.uniform(low, high, (len(films), 1, 1, 1)).astype(np.float32)
    return torch.from_numpy(drawn).to(films.device)


def _boxed(films: Tensor, rng: np.random.Generator) -> Tensor:
    """Every other film with a rectangle of one grey level, as large as a caption at most."""
    height, width = films.shape[-2:]
    y = ((torch.arange(height, device=films.device) + 0.5) / height).view(1, 1, -1, 1)
    x = ((torch.arange(width, device=films.device) + 0.5) / width).view(1, 1, 1, -1)
    inside = (x - _each(films, rng, 0, 1)).abs() < _each(films, rng, 0.015, 0.125)
    inside = inside & ((y - _each(films, rng, 0, 1)).abs() < _each(films, rng, 0.015, 0.1))
    inside = inside & (_each(films, rng, 0, 1) < 0.5)
    return torch.where(inside, _each(films, rng, 0, 1), films)
