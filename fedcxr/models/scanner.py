"""Films of different scanners made alike, by the network that reads them: whoever has it does the same to every film.

Nothing is fitted to anybody's films, so that hospitals agree without showing each other one, and an attacker who knows
the network knows this too. All of it has slopes: whoever wants films back from an update can go through it. What a
hospital fits to its own films is in `fedcxr.alike`.

`bands` is after Philipsen et al., IEEE TMI 2015. *Our choice.* Energies are taken in the middle of a film and not in
its lungs, once and not again and again, and are brought to those of films that belong to nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from fedcxr.models.options import Normalise

BORDER = 1 / 8  # of the film on each side, where letters, edges of the beam and arms are
FAINT = 2e-3  # of the grey scale: a band with less is empty, and is not blown up
LEVELS = 32  # of a film's own grey values, between which the histogram is straight
GREYS = 256  # at which that is known
MIDDLE, SPREAD = 0.5, 0.2  # of what comes out, about
# Bands of structure up to so many 64ths of a film, and their energies on phantoms of six scanners; last what is larger.
REACHES = (1, 2, 4, 8)
ENERGIES = (0.0450, 0.0363, 0.0489, 0.0699, 0.1403)


class Normalised(nn.Module):
    """Films (n, 1, h, w) in [0, 1] in, and films in about that range out."""

    def __init__(self, how: Normalise) -> None:
        super().__init__()
        self.how = how

    def forward(self, films: Tensor) -> Tensor:
        if self.how == "none":
            return films
        with torch.autocast(films.device.type, enabled=False):  # bf16 would leave a faint band two levels
            return _WAYS[self.how](films.float())


def _standardised(films: Tensor) -> Tensor:
    middle = inner(films)
    mean = middle.mean((2, 3), keepdim=True)
    return MIDDLE + SPREAD * (films - mean) / _energy(middle - mean)


def _equalised(films: Tensor) -> Tensor:
    """Each grey value becomes the share of the film's middle that is darker, read off a curve of each film's own."""
    curve = _curve(inner(films)[..., ::2, ::2].flatten(1))
    place = films.flatten(1).clamp(0, 1) * GREYS
    below = place.detach().long().clamp(max=GREYS - 1)
    low, high = curve.gather(1, below), curve.gather(1, below + 1)
    return (low + (place - below) * (high - low)).view_as(films)


def _curve(seen: Tensor) -> Tensor:  # (n, pixels) -> (n, greys + 1)
    """Which share of these is darker than each of the grey values."""
    ranks = torch.linspace(0, seen.shape[1] - 1, LEVELS + 1, device=seen.device).round().long()
    known = seen.sort(dim=1).values[:, ranks].contiguous()  # 0, 1/32, ... 1 are darker than these
    greys = torch.linspace(0, 1, GREYS + 1, device=seen.device).expand(len(seen), -1).contiguous()
    above = torch.searchsorted(known.detach(), greys, right=True).clamp(1, LEVELS)
    low, high = known.gather(1, above - 1), known.gather(1, above)
    share = (greys - low) / (high - low).clamp(min=FAINT)
    return (above - 1 + share.clamp(0, 1)) / LEVELS


def _balanced(films: Tensor) -> Tensor:
    """The sum of the film's bands, each of which comes with the energy that it has on average."""
    total = torch.full_like(films, MIDDLE)
    for band, wanted in zip(decomposed(films)[0], ENERGIES, strict=True):
        total = total + band * (wanted / _energy(inner(band)))
    return total


def decomposed(films: Tensor) -> tuple[list[Tensor], Tensor]:  # (n, 1, h, w) each, the finest first; (n, 1, 1, 1)
    """A film's bands and its level, which is the mean of its middle; together they are the film."""
    bands, finer = [], films
    for reach in REACHES:
        coarser = _blurred(films, reach / 64 * films.shape[-2])
        bands.append(finer - coarser)
        finer = coarser
    level = inner(finer).mean((2, 3), keepdim=True)
    return [*bands, finer - level], level


def _energy(band: Tensor) -> Tensor:  # (n, 1, 1, 1)
    return (band.square().mean((2, 3), keepdim=True) + FAINT**2).sqrt()


def inner(films: Tensor) -> Tensor:
    """The middle of films."""
    rows, columns = (int(BORDER * side) for side in films.shape[-2:])
    return films[..., rows : films.shape[-2] - rows, columns : films.shape[-1] - columns]


def _blurred(films: Tensor, deviation: float) -> Tensor:
    """Under a Gaussian, edges repeated: two products with small matrices, whatever the deviation."""
    down, across = (_gaussian(side, deviation).to(films) for side in films.shape[-2:])
    return down @ films @ across.T


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # kept, it must be good for learning, too
def _gaussian(side: int, deviation: float) -> Tensor:  # (side, side)
    """What each pixel of a line becomes, as weights of all."""
    reach = math.ceil(4 * deviation)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / deviation).square())
    sources = (torch.arange(side)[:, None] + offsets).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, sources, (weights / weights.sum()).expand(side, -1))


_WAYS: dict[str, Callable[[Tensor], Tensor]] = {"film": _standardised, "histogram": _equalised, "bands": _balanced}
