"""Lungs and heart of phantom films, drawn when somebody asks: a cohort whose masks nobody reads costs nothing more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import ORGANS, Annotations, Organ
from fedcxr.data.phantom.store import Order


@dataclass(frozen=True)
class Outlines:
    """One organ on every film of an order, from the anatomy and the pose that the films were drawn from."""

    organ: Organ
    films: int
    order: Callable[[], Order]  # who is on the films, which takes longer to tell than to map them

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        return np.ones(self.films, dtype=np.bool_)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:  # (n, size, size)
        from fedcxr.data.phantom.render import outlines  # here: it takes torch, and opening films does not

        order = self._order
        return outlines(order.seed, order.visits.take(rows), order.size)[ORGANS.index(self.organ)]

    @cached_property
    def _order(self) -> Order:
        return self.order()


def anatomical(films: int, order: Callable[[], Order]) -> Annotations:
    """All that a phantom knows of where things are on so many films."""
    return Annotations({organ: Outlines(organ, films, order) for organ in ORGANS})
