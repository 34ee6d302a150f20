"""Smooth random fields of one film, from streams of that film alone and equal at every size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fedcxr.data.phantom.shapes import stretch
from fedcxr.data.phantom.visits import VERSION
from fedcxr.rng import stream


@dataclass(frozen=True)
class Texture:
    """Draws fields for films known by patient and visit."""

    seed: int
    films: tuple[tuple[int, int], ...]  # patient and visit
    size: int
    columns: int

    def take(self, films: Tensor) -> Texture:
        """The same for some of the films."""
        return replace(self, films=tuple(self.films[film] for film in films.tolist()))

    def field(self, name: str, cells: int) -> Tensor:  # (n, size, columns)
        """A field with `cells` independent values across, mean 0, variance about 0.5."""
        lattice = np.stack(
            [
                stream(self.seed, "phantom", VERSION, *film, name).standard_normal((1, cells, cells), np.float32)
                for film in self.films
            ]
        )
        return stretch(torch.from_numpy(lattice), self.size, self.size, self.columns)[:, 0]

    def grain(self) -> Tensor:  # (n, size, columns)
        """White noise per pixel, as of X-ray quanta: its standard deviation grows with the number of pixels."""
        shape = (self.size, self.size)
        grain = np.zeros((len(self.films), self.size, self.columns), np.float32)
        for film, pixels in zip(self.films, grain, strict=True):
            draws = stream(self.seed, "phantom", VERSION, *film, "grain")
            pixels[:, : self.size] = draws.standard_normal(shape, np.float32)
        return torch.from_numpy(grain).mul_(self.size / 128)
