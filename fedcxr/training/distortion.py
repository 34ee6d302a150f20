"""Films as no phantom shows them: what real hospitals and real visits change in ways that nobody can list.

Wherever a phantom is simpler than a real film, a network that has seen phantoms only learns to rely on it. So what does
not say whose film it is, is drawn at random for each film by itself: shape, opacities, exposure, processing, the curve
of grey values, borders, sharpness and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Distortion:
    """The largest change of each kind; a film's own is drawn evenly up to it. Films keep their size and range."""

    bend: float = 0.03  # share of the film's side that soft tissue and posture move a place by
    opacity: float = 0.8  # share of the way to white that a patch goes
    exposure: float = 0.2  # grey levels in [0, 1] that slopes and slow waves add
    sharpening: float = 1.2  # times the difference from the surroundings that a vendor's processing adds
    curve: float | None = 0.6  # natural logarithm of the exponent after grey levels were stretched; None: neither
    border: float = 0.14  # share of the film's side that a border covers
    coarseness: float = 2.0  # pixels of the film per pixel it is brought down to
    noise: float = 0.06  # standard deviation, of grey levels in [0, 1]

    def times(self, share: float) -> Distortion:
        """The same kinds of change, each by this share of its amount."""
        curve = None if self.curve is None or not share else share * self.curve
        coarseness = 1 + share * (self.coarseness - 1)
        amounts = (self.bend, self.opacity, self.exposure, self.sharpening)
        bend, opacity, exposure, sharpening = (share * amount for amount in amounts)
        border, noise = share * self.border, share * self.noise
        return Distortion(bend, opacity, exposure, sharpening, curve, border, coarseness, noise)

    def __call__(self, films: Tensor, rng: np.random.Generator) -> Tensor:  # (n, 1, h, w) in [0, 1]
        """Every film changed on its own."""
        changed = self._opacified(self._bent(films, rng), rng)
        changed = self._sharpened(self._exposed(changed, rng), rng)
        changed = self._bordered(self._curved(changed, rng), rng)
        return self._degraded(changed, rng).clamp(0, 1)

    def _bent(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        still = torch.eye(2, 3, device=films.device).expand(len(films), 2, 3)
        with torch.autocast(films.device.type, enabled=False):  # bf16 would round places to half a pixel
            grid = F.affine_grid(still, list(films.shape), align_corners=False)
            for cells, share in ((3, 1.0), (6, 0.4)):
                field = _field(films, rng, cells, channels=2) * _evenly(films, rng, 0, 2 * share * self.bend)
                grid = grid + field.permute(0, 2, 3, 1)
            return F.grid_sample(films, grid, padding_mode="border", align_corners=False)

    def _opacified(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        """Patches that come near to white or, in part of the films, to black: consolidations, effusions, gas."""
        field = _field(films, rng, 4) + 0.6 * _field(films, rng, 9)
        patches = ((field - _evenly(films, rng, 0.2, 2.2)) * _evenly(films, rng, 1.5, 8)).sigmoid()
        share = patches * _evenly(films, rng, 0, self.opacity) * _some(films, rng, 0.6)
        level = torch.where(_some(films, rng, 0.75), _evenly(films, rng, 0.5, 0.95), _evenly(films, rng, 0, 0.2))
        return films + (level - films) * share

    def _exposed(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        for cells, share in ((2, 1.0), (5, 0.5)):
            films = films + _field(films, rng, cells) * _evenly(films, rng, 0, share * self.exposure)
        return films

    def _sharpened(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        """For structures of three sizes; a third of that in the other direction."""
        for cells in (6, 16, 32):
            coarse = F.interpolate(F.adaptive_avg_pool2d(films, cells), films.shape[2:], mode="bilinear")
            amount = _evenly(films, rng, -0.3 * self.sharpening, self.sharpening) * _some(films, rng, 0.5)
            films = films + (films - coarse) * amount
        return films

    def _curved(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        """A rising curve through what 2 % of the pixels are darker and 2 % brighter than; never inverted."""
        if self.curve is None:
            return films
        dark, bright = _quantiles(films, (0.02, 0.98))
        dark, bright = dark + _evenly(films, rng, -0.1, 0.1), bright + _evenly(films, rng, -0.1, 0.2)
        stretched = ((films - dark) / (bright - dark).clamp(min=0.1)).clamp(1e-4, 1)
        curved = stretched ** torch.exp(_evenly(films, rng, -self.curve, self.curve))
        return torch.where(_some(films, rng, 0.8), curved, films)

    def _bordered(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        """Black, or of any grey, along any of the four sides."""
        height, width = films.shape[2:]
        down = torch.linspace(0, 1, height, device=films.device)[:, None]
        right = torch.linspace(0, 1, width, device=films.device)
        grey = _evenly(films, rng, 0, 1) * _some(films, rng, 0.3)
        for along in (right, 1 - right, down, 1 - down):
            covered = along < _evenly(films, rng, 0, self.border) * _some(films, rng, 0.3)
            films = torch.where(covered, grey, films)
        return films

    def _degraded(self, films: Tensor, rng: np.random.Generator) -> Tensor:
        size = films.shape[2:]
        fewer = [max(1, round(side / rng.uniform(1, self.coarseness))) for side in size]  # one number for the batch
        coarse = F.interpolate(F.interpolate(films, fewer, mode="area"), size, mode="bilinear")
        films = torch.where(_some(films, rng, 0.4), coarse, films)
        generator = torch.Generator(films.device)  # noise is made where the films lie
        generator.manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(films.shape, generator=generator, device=films.device)
        return films + noise * _evenly(films, rng, 0, self.noise) * _some(films, rng, 0.6)


# Draws, (n, 1, 1, 1) to meet pixels -----------------------------------------------------------------------------------


def _evenly(films: Tensor, rng: np.random.Generator, low: float, high: float) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, (len(films), 1, 1, 1)).astype(np.float32)).to(films.device)


def _some(films: Tensor, rng: np.random.Generator, share: float) -> Tensor:
    return torch.from_numpy(rng.random((len(films), 1, 1, 1)) < share).to(films.device)


def _field(films: Tensor, rng: np.random.Generator, cells: int, channels: int = 1) -> Tensor:
    """Smooth random fields (n, channels, h, w) with so many independent values across, of mean 0 and deviation < 1."""
    lattice = torch.from_numpy(rng.standard_normal((len(films), channels, cells, cells), dtype=np.float32))
    return F.interpolate(lattice.to(films.device), films.shape[2:], mode="bicubic", align_corners=False)


def _quantiles(films: Tensor, shares: Sequence[float]) -> tuple[Tensor, ...]:
    """Grey levels below which these shares of every seventh pixel lie."""
    some = films.flatten(1)[:, ::7].sort(dim=1).values
    return tuple(some[:, int(share * some.shape[1]), None, None, None] for share in shares)
