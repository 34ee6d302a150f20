"""Masks as a shard keeps them: a bit per pixel, and a byte before them that tells whether the film has one at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcxr.data._mapped import mapped

Mask = npt.NDArray[np.bool_]  # (h, w)


def row_bytes(size: int) -> int:
    """How many bytes the mask of a film of this size takes."""
    return 1 + -(-(size**2) // 8)


def packed(mask: Mask | None, size: int) -> npt.NDArray[np.uint8]:  # (row_bytes,)
    """A mask (size, size) as it is kept; None: the film has none."""
    row = np.zeros(row_bytes(size), dtype=np.uint8)
    if mask is not None:
        row[0] = 1
        row[1:] = np.packbits(mask)
    return row


@dataclass(frozen=True)
class PackedMasks:
    """The masks of one organ in a shard, mapped and unpacked when they are asked for."""

    kept: npt.NDArray[np.uint8]  # (n, row_bytes)
    size: tuple[int, int]

    @classmethod
    def open(cls, path: Path, films: int, size: tuple[int, int]) -> PackedMasks:
        """The masks in a file of a shard; a ValueError if it is not what it should be."""
        return cls(mapped(path, (films, row_bytes(size[0])), np.uint8), size)

    @cached_property
    def there(self) -> npt.NDArray[np.bool_]:  # (n,)
        return np.asarray(self.kept[:, 0] != 0)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:  # (n, h, w)
        height, width = self.size
        bits = np.unpackbits(self.kept[rows, 1:], axis=1, count=height * width)
        return bits.reshape(len(rows), height, width).view(np.bool_)
