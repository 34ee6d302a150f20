"""A hospital's films made alike before anything is done with them, by gains that are fitted to its own training films.

After Philipsen et al., IEEE TMI 2015: a film is taken apart into bands, and the energy of each is brought to that of
films that belong to nobody. *Our choice.* One gain for each band of a hospital in place of one of every film, so that
what differs between its films stays and what its scanner does to all of them goes; found once and not again and again,
in the middle of films. Nobody shows anybody a film for this, and the gains stay where they were fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcxr.cohort import Cohort, Pixels
from fedcxr.errors import DataError
from fedcxr.models.scanner import ENERGIES, FAINT, MIDDLE, decomposed, inner
from fedcxr.partition import Rows

FEWEST = 20  # training films: of fewer, the mean energy is that of a few people
MOST = 1000  # fitted to, evenly out of all: more would change a gain by a hundredth or so
AT_ONCE = 1 << 18  # pixels in double precision: 64 films of 64 px, 4 of 256 px

Films = npt.NDArray[np.uint8]  # (n, h, w)


@dataclass(frozen=True)
class Gains:
    """What one hospital multiplies the bands of its films by."""

    of_bands: npt.NDArray[np.float64]  # (bands,) the finest first
    level: float  # of its films, in [0, 1], which becomes the middle of the grey scale

    @classmethod
    def fitted(cls, films: Cohort) -> Self:
        """In one pass; bands overlap, so what comes out misses the energies that it should have by some hundredths."""
        power, level, blank = torch.zeros(len(ENERGIES), dtype=torch.float64), 0.0, 0
        chosen = films.take(np.linspace(0, len(films) - 1, min(len(films), MOST)).round().astype(np.intp))
        for chunk in chosen.chunks(_at_once(films.size)):
            bands, levels = decomposed(_tensor(chunk))
            of_films = torch.stack([inner(band).square().mean((1, 2, 3)) for band in bands])  # (bands, films)
            blank += int((of_films.sum(0) < FAINT**2).sum())
            power, level = power + of_films.sum(1), level + float(levels.sum())
        if blank:
            raise DataError(
                "films that show nothing cannot be made alike",
                given=f"{blank} of {len(chosen)} training films",
                do="take them out of the hospital's table, or set alike to none",
            )
        energies = (power / len(chosen) + FAINT**2).sqrt().numpy()  # an empty band is not blown up
        return cls(np.array(ENERGIES) / energies, level / len(chosen))

    def made(self, films: Films) -> Films:
        """These films, each by itself."""
        if not len(films):
            return films
        step = _at_once(films.shape[1:])
        return np.concatenate([self._made(films[start : start + step]) for start in range(0, len(films), step)])

    def _made(self, films: Films) -> Films:
        bands, level = decomposed(_tensor(films))
        total = MIDDLE + self.of_bands[-1] * (level - self.level)
        for band, gain in zip(bands, self.of_bands.tolist(), strict=True):
            total = total + gain * band
        grey: Films = total[:, 0].clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
        return grey


@dataclass(frozen=True)
class _Alike:
    """The pixels of a store, made alike whenever they are read: what `Cohort.pixels` needs of an array."""

    pixels: Pixels
    gains: Sequence[Gains]
    owner: npt.NDArray[np.intp]  # (m,) by whose gains each film of the store is made alike

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return self.pixels.dtype

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> Films:
        films, owner = np.array(self.pixels[rows]), self.owner[rows]
        for place in np.unique(owner):
            films[owner == place] = self.gains[place].made(films[owner == place])
        return films


def made_alike(films: Cohort, parts: Mapping[str, Rows]) -> Cohort:
    """These films, each part by gains that are fitted to its own training films; every film is in one part.

    They are made alike when they are read, and are never in memory together.
    """
    gains, owner = [], np.zeros(films.pixels.shape[0], dtype=np.intp)
    for place, (name, rows) in enumerate(parts.items()):
        own = films.take(rows)
        taught = own.where("train")
        if len(taught) < FEWEST:
            raise DataError(
                f"{name} has too few films to be made alike",
                given=f"{len(taught)} training films",
                allowed=f"{FEWEST} or more",
                do="set alike to none, or leave the hospital out",
            )
        gains.append(Gains.fitted(taught))
        owner[own.rows] = place
    return replace(films, pixels=_Alike(films.pixels, gains, owner))


def _tensor(films: Films) -> Tensor:  # (n, 1, h, w) in [0, 1]
    """In double precision: a film comes out the same whatever it is read together with."""
    return torch.from_numpy(np.array(films))[:, None].double().div_(255)


def _at_once(size: Sequence[int]) -> int:
    return max(1, AT_ONCE // (size[0] * size[1]))
