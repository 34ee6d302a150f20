"""Soft shapes on a film: every edge and line is widened to the pixel, so that no size shows more than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Brush:
    """Draws at one resolution."""

    pixel: float  # side of a pixel, in half widths of a film

    def edge(self, depth: Tensor, width: float = 0.0) -> Tensor:
        """1 where depth is positive, 0 where negative, a straight ramp of this width between."""
        return depth.mul(1 / max(width, 1.2 * self.pixel)).add_(0.5).clamp_(0, 1)

    def line(self, distance: Tensor, width: float) -> Tensor:
        """A line of this half width; a thin one gets fainter with the pixel instead of thinner."""
        wide = max(width, 0.8 * self.pixel)
        return distance.mul(1 / wide).square_().neg_().exp_().mul_(width / wide)


def smooth(depth: Tensor, width: float) -> Tensor:
    """A wide, smooth step from 0 to 1 that needs no care about pixels."""
    return depth.mul(1 / width).sigmoid_()


def bump(distance: Tensor, width: float) -> Tensor:
    """A wide, smooth hill of height 1."""
    return distance.mul(1 / width).square_().neg_().exp_()


def both(first: Tensor, second: Tensor) -> Tensor:
    """Opacity of two structures behind each other, each in [0, 1]."""
    return first + second - first * second


def disc(squared_radius: Tensor) -> Tensor:
    """Thickness of an ellipsoid along the beam where 1 is its rim."""
    return (1 - squared_radius).clamp_(min=0).sqrt_()


class Traits:
    """Named numbers of a batch of films, each shaped (n, 1, 1) to meet pixels."""

    def __init__(self, names: Sequence[str], values: Tensor) -> None:  # values: (n, len(names))
        self._columns = {name: column for column, name in enumerate(names)}
        self._names = tuple(names)
        self._values = values

    def __getitem__(self, name: str) -> Tensor:
        return self._values[:, self._columns[name], None, None]

    def take(self, rows: Tensor) -> Traits:
        """The traits of some films of the batch."""
        return Traits(self._names, self._values[rows])


def stretch(lattice: Tensor, height: int, width: int, columns: int) -> Tensor:
    """A lattice (n, c, g, g) spread smoothly over films (n, c, height, columns) of which `width` columns are seen."""
    field = functional.interpolate(lattice, size=(height, width), mode="bicubic", align_corners=False)
    return field if columns == width else functional.pad(field, (0, columns - width))


def sampled(lattice: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values (n, c, h, w) of a lattice (n, c, g, g) at positions in [-1, 1]."""
    return functional.grid_sample(
        lattice, torch.stack((x, y), dim=-1), mode="bilinear", padding_mode="reflection", align_corners=False
    )
