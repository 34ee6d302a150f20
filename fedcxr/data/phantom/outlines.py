"""Lungs and heart of phantom films, drawn when somebody asks: a cohort whose masks nobody reads costs nothing more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import ORGANS, Annotations, Organ
from fedcxr.data.phantom.store import Order

Bits = npt.NDArray[np.uint8]  # (organs, size * size / 8)


@dataclass(frozen=True)
class Drawings:
    """All organs on every film of an order, from the anatomy and the pose that the films were drawn from.

    What was drawn is kept, a bit per pixel: who learns from outlines asks for the same ones in every epoch.
    """

    order: Callable[[], Order]  # who is on the films, which takes longer to tell than to map them
    _kept: dict[int, Bits] = field(default_factory=dict, compare=False, repr=False)  # by film

    def masks(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:  # (organs, n, size, size)
        """Those of these films."""
        from fedcxr.data.phantom.render import outlines  # here: it takes torch, and opening films does not

        order, wanted = self._order, [int(row) for row in rows]
        missing = np.array(sorted({row for row in wanted if row not in self._kept}), dtype=np.intp)
        if len(missing):
            drawn = np.stack(outlines(order.seed, order.visits.take(missing), order.size), axis=1)
            bits = np.packbits(drawn.reshape(len(missing), len(ORGANS), -1), axis=2)
            self._kept.update(zip(missing.tolist(), bits, strict=True))
        kept = np.array([self._kept[row] for row in wanted], dtype=np.uint8).reshape(len(wanted), len(ORGANS), -1)
        pixels = np.unpackbits(kept, axis=2, count=order.size**2).view(np.bool_)
        return pixels.reshape(len(wanted), len(ORGANS), order.size, order.size).swapaxes(0, 1)

    @cached_property
    def _order(self) -> Order:
        return self.order()


@dataclass(frozen=True)
class Outlines:
    """One organ on every film of an order."""

    organ: Organ
    films: int
    drawings: Drawings

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        return np.ones(self.films, dtype=np.bool_)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:  # (n, size, size)
        drawn: npt.NDArray[np.bool_] = self.drawings.masks(rows)[ORGANS.index(self.organ)]
        return drawn


def anatomical(films: int, order: Callable[[], Order]) -> Annotations:
    """All that a phantom knows of where things are on so many films."""
    drawings = Drawings(order)
    return Annotations({organ: Outlines(organ, films, drawings) for organ in ORGANS})
