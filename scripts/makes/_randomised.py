"""Phantom films distorted beyond recognition, so that a network trained on them finds the lungs on real ones.

Real films differ from phantoms in ways nobody can list, so everything that does not decide where the lungs are is
drawn at random: shape, framing, contrast of each region, opacities, gas, exposure, sharpness, noise, writing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from _writing import writing
from torch import Tensor
from torch.nn import functional as F

from fedcxr.data.phantom import Phantom
from fedcxr.data.phantom.render import render

WRITINGS = 400
MIN_ROWS = 3  # that tell where the spine runs


@dataclass(frozen=True)
class Films:
    """Phantom films with what is known about them, (n, size, size) each."""

    pixels: npt.NDArray[np.uint8]
    lungs: npt.NDArray[np.bool_]  # whole lungs, with what lies behind the heart
    heart: npt.NDArray[np.bool_]
    patients: npt.NDArray[np.str_]  # (n,)

    def __len__(self) -> int:
        return len(self.pixels)


def phantoms(patients: int, size: int, seed: int) -> Films:
    """Films of many hospitals, as they are before anything is randomised."""
    phantom = Phantom(patients=patients, size=size, seed=seed, mean_visits=1.5, sources=64)
    visits = phantom._visits()
    clear, heart = phantom.masks(slice(None))
    whole = np.stack([whole_lungs(*pair) for pair in zip(clear, heart, strict=True)])
    return Films(render(seed, visits, size), whole, heart, visits.patient.astype(str))


def whole_lungs(clear: npt.NDArray[np.bool_], heart: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The lungs (h, w) with what the heart hides of them: all but a strip as wide as the gap above the heart."""
    columns = np.arange(clear.shape[1])
    between = columns[(clear | heart).any(0)].mean()
    middles, gaps = [], []
    for row in np.flatnonzero(clear.any(1) & ~heart.any(1)):
        sides = columns[clear[row] & (columns < between)], columns[clear[row] & (columns > between)]
        if all(map(len, sides)):
            last, first = sides[0][-1], sides[1][0]
            middles.append((row, (last + first) / 2))
            gaps.append(first - last)
    if len(middles) < MIN_ROWS:
        return clear
    rows, centres = np.array(middles).T
    slope, offset = np.polyfit(rows, centres, 1)
    spine = offset + slope * np.arange(len(clear))
    beside: npt.NDArray[np.bool_] = np.abs(columns - spine[:, None]) >= np.median(gaps) / 2
    return clear | (heart & beside)


class Randomiser:
    """Turns phantom films into training examples; all chance comes from one generator."""

    def __init__(self, films: Films, rng: np.random.Generator) -> None:
        self.films, self.rng = films, rng
        self.writings = torch.from_numpy(np.stack([writing(films.pixels.shape[1], rng) for _ in range(WRITINGS)]))

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Films (n, 1, h, w) in [0, 1] and their lungs (n, 1, h, w) in {0, 1}."""
        rows = np.sort(self.rng.choice(len(self.films), count, replace=False))
        pixels = torch.from_numpy(self.films.pixels[rows]).float().div_(255)
        lungs, heart = (torch.from_numpy(m[rows]).float() for m in (self.films.lungs, self.films.heart))
        moved = self._moved(torch.stack((pixels, lungs, heart), dim=1))
        film, lungs, heart = (moved[:, i : i + 1] for i in range(3))
        film = self._recontrasted(film, lungs, heart)
        film = self._opacified(film, lungs)
        film = self._gassed(film, lungs)
        film = self._exposed(film)
        film = self._sharpened(film)
        film = self._curved(film)
        film = self._written(film)
        film, seen = self._framed(film)
        film = self._degraded(film)
        return film.clamp_(0, 1), (lungs * seen > 0.5).float()

    # What happens to all films of a batch, to each in its own measure ---------------------------------------------

    def _moved(self, planes: Tensor) -> Tensor:
        """Turned, stretched, shifted, mirrored and bent; what comes in from outside repeats the edge."""
        n, size = len(planes), planes.shape[-1]
        angle, aspect = self._normal(n, 0.10), torch.exp(self._normal(n, 0.065))
        zoom = torch.exp(self._uniform(n, -0.25, 0.60))  # above 1 shows more than the phantom's film
        mirror = torch.where(self._chance(n, 0.5), 1.0, -1.0)
        across, down = zoom * aspect, zoom / aspect
        cos, sin = torch.cos(angle), torch.sin(angle)
        row_x = mirror * cos * across, -sin * across, self._normal(n, 0.13)
        row_y = mirror * sin * down, cos * down, self._normal(n, 0.13)
        grid = F.affine_grid(torch.cat(row_x + row_y, dim=1).view(n, 2, 3), [n, 1, size, size], align_corners=False)
        for cells, strength in ((3, 0.07), (6, 0.025)):
            bend = self._field(n, cells, size, 2) * self._uniform(n, 0, strength)
            grid = grid + bend.permute(0, 2, 3, 1)
        moved = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
        within = (grid.abs() <= 1).all(-1, keepdim=True).permute(0, 3, 1, 2)
        return torch.cat((moved[:, :1], moved[:, 1:] * within), dim=1)

    def _recontrasted(self, film: Tensor, lungs: Tensor, heart: Tensor) -> Tensor:
        """Regions brighter or darker than the phantom's physics makes them."""
        n = len(film)
        for region, low, high in ((lungs, -0.15, 0.35), (heart * lungs, -0.25, 0.15), (heart, -0.15, 0.25)):
            film = film + self._softened(region) * self._uniform(n, low, high) * self._chance(n, 0.7)
        one_side = torch.linspace(-4, 4, film.shape[-1]).sigmoid() * self._softened(lungs)
        return film + one_side * self._uniform(n, -0.2, 0.3) * self._chance(n, 0.3)

    def _opacified(self, film: Tensor, lungs: Tensor) -> Tensor:
        """Consolidations: patches of lung that come near to the density of tissue, more often towards the base."""
        n, size = len(film), film.shape[-1]
        field = torch.linspace(-1, 1, size)[:, None] * self._uniform(n, -0.5, 2.0)
        for cells, weight in ((4, 1.0), (9, 0.6), (24, 0.35)):
            field = field + weight * self._field(n, cells, size)
        patches = ((field - self._uniform(n, -0.5, 2.2)) * self._uniform(n, 1.5, 8)).sigmoid()
        share = patches * self._softened(lungs) * self._uniform(n, 0.3, 1.0) * self._chance(n, 0.6)
        tissue = _quantiles(film, 0.75)[0] + self._uniform(n, -0.15, 0.15)
        return film + (tissue - film) * share

    def _gassed(self, film: Tensor, lungs: Tensor) -> Tensor:
        """Dark and bright blobs outside the lungs: stomach, bowel, folds of skin, what lies under the patient."""
        n, place = len(film), torch.linspace(-1, 1, film.shape[-1])
        for share in (0.7, 0.5, 0.3):
            x = (place - self._uniform(n, -1, 1)) / torch.exp(self._uniform(n, -2.8, -0.9))
            y = (place[:, None] - self._uniform(n, -0.2, 1.1)) / torch.exp(self._uniform(n, -2.8, -1.0))
            blob = ((1 - x.square() - y.square()) * self._uniform(n, 1.5, 8)).sigmoid() * (1 - lungs)
            film = film + blob * self._uniform(n, -0.45, 0.25) * self._chance(n, share)
        return film

    def _exposed(self, film: Tensor) -> Tensor:
        """Slopes and slow waves of brightness."""
        n, size = len(film), film.shape[-1]
        for cells, most in ((2, 0.16), (5, 0.07)):
            film = film + self._field(n, cells, size) * self._uniform(n, 0, most)
        return film

    def _sharpened(self, film: Tensor) -> Tensor:
        """Local contrast as vendors add it, for structures of three sizes, and the opposite."""
        n, size = len(film), film.shape[-1]
        for cells, most in ((6, 0.9), (16, 1.2), (42, 1.5)):
            coarse = F.interpolate(F.adaptive_avg_pool2d(film, cells), (size, size), mode="bilinear")
            film = film + (film - coarse) * self._uniform(n, -0.35, most) * self._chance(n, 0.5)
        return film

    def _curved(self, film: Tensor) -> Tensor:
        """A random rising curve of grey values: window, gamma and bends; never inverted."""
        n = len(film)
        dark, bright = _quantiles(film, 0.02, 0.98)
        dark, bright = dark + self._uniform(n, -0.15, 0.15), bright + self._uniform(n, -0.15, 0.3)
        unit = ((film - dark) / (bright - dark).clamp(min=0.1)).clamp(1e-4, 1)
        unit = unit ** torch.exp(self._normal(n, 0.45))
        return unit + self._uniform(n, -0.12, 0.12) * torch.sin(unit * (2 * torch.pi))

    def _written(self, film: Tensor) -> Tensor:
        """Letters, arrows, tubes, electrodes."""
        n = len(film)
        for share in (0.6, 0.3):
            grey, cover = self.writings[torch.from_numpy(self.rng.integers(WRITINGS, size=n))].split(1, dim=1)
            film = torch.lerp(film, grey, cover * self._chance(n, share))
        return film

    def _framed(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """Borders: black, white or grey around a part of the film; with what is still to be seen."""
        n, place = len(film), torch.linspace(0, 1, film.shape[-1])
        seen = torch.ones_like(film)
        for along in (place, 1 - place, place[:, None], 1 - place[:, None]):
            seen = seen * (along >= self._uniform(n, 0, 0.14) * self._chance(n, 0.35))
        grey = torch.where(self._chance(n, 0.7), self._uniform(n, 0, 0.05), self._uniform(n, 0, 1))
        return torch.where(seen > 0, film, grey), seen

    def _degraded(self, film: Tensor) -> Tensor:
        """Blur by fewer pixels, and noise."""
        n, size = len(film), film.shape[-1]
        coarse = _through_fewer_pixels(film, int(self.rng.integers(size // 3, size)))
        film = torch.where(self._chance(n, 0.3), coarse, film)
        noise = torch.from_numpy(self.rng.standard_normal(tuple(film.shape), dtype=np.float32))
        return film + noise * self._uniform(n, 0, 0.06) * self._chance(n, 0.6)

    def _softened(self, region: Tensor) -> Tensor:
        """A mask with a border of random width, the same for the batch."""
        size = region.shape[-1]
        return _through_fewer_pixels(region, int(self.rng.integers(size // 8, size)))

    # Draws, (n, 1, 1, 1) to meet pixels ------------------------------------------------------------------------------

    def _uniform(self, n: int, low: float, high: float) -> Tensor:
        return torch.from_numpy(self.rng.uniform(low, high, (n, 1, 1, 1)).astype(np.float32))

    def _normal(self, n: int, deviation: float) -> Tensor:
        return torch.from_numpy(self.rng.normal(0, deviation, (n, 1, 1, 1)).astype(np.float32))

    def _chance(self, n: int, share: float) -> Tensor:
        return torch.from_numpy(self.rng.random((n, 1, 1, 1)) < share)

    def _field(self, n: int, cells: int, size: int, channels: int = 1) -> Tensor:
        """Smooth random fields (n, channels, size, size) with so many independent values across."""
        lattice = torch.from_numpy(self.rng.standard_normal((n, channels, cells, cells), dtype=np.float32))
        return F.interpolate(lattice, (size, size), mode="bicubic" if cells < 10 else "bilinear", align_corners=False)


def _quantiles(film: Tensor, *shares: float) -> tuple[Tensor, ...]:
    """Grey values below which these shares of every seventh pixel lie."""
    some = film.flatten(1)[:, ::7].sort(dim=1).values
    return tuple(some[:, int(share * some.shape[1]), None, None, None] for share in shares)


def _through_fewer_pixels(film: Tensor, pixels: int) -> Tensor:
    size = film.shape[-1]
    return F.interpolate(F.interpolate(film, (pixels, pixels), mode="area"), (size, size), mode="bilinear")
