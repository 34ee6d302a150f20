"""Sparse codes as bytes: which channels of a cell hold a number, and which numbers, always in the same length.

A length that depended on the film would tell films apart by the size of what is sealed, so nothing here compresses.
Which s of 64 channels are kept is one of C(64, s) possibilities: their number in the combinatorial number system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError

PER_MAP = 64  # channels of a code map
CELL = 8  # pixels

Codes = npt.NDArray[np.int8]  # (c, h, w) of one film or (n, c, h, w); 0: nothing is kept
Number = TypeVar("Number", np.int8, np.bool_)
Support = npt.NDArray[np.bool_]  # of the same shape

# _CHOOSE[k, place] = C(place, k): at most C(64, 32) < 2^63
_CHOOSE = np.array([[math.comb(place, k) for place in range(PER_MAP + 1)] for k in range(PER_MAP + 1)], dtype=np.uint64)


@dataclass(frozen=True)
class Shape:
    """Of a film's code: which cells there are and how many numbers each holds."""

    s: int  # numbers per cell and map
    maps: int
    rows: int  # cells
    columns: int

    @classmethod
    def of_film(cls, size: tuple[int, int], s: int, maps: int = 1) -> Shape:
        return cls(s, maps, -(-size[0] // CELL), -(-size[1] // CELL))

    @property
    def cells(self) -> int:
        return self.maps * self.rows * self.columns

    @property
    def kept(self) -> int:
        return self.s * self.cells

    @property
    def support_bits(self) -> int:
        """Per cell."""
        return (math.comb(PER_MAP, self.s) - 1).bit_length()

    @property
    def support_bytes(self) -> int:
        return -(-self.cells * self.support_bits // 8)

    @property
    def code(self) -> tuple[int, int, int]:
        return self.maps * PER_MAP, self.rows, self.columns


def pack(codes: Codes, shape: Shape) -> bytes:
    """One film's code: its support, then its values."""
    return pack_support(codes != 0, shape) + values_of(codes, shape).tobytes()


def unpack(packed: bytes, shape: Shape) -> Codes:
    """The code that `pack` was given."""
    if len(packed) != shape.support_bytes + shape.kept:
        raise DataError("a packed code has the wrong length", given=f"{len(packed)} bytes for {shape}")
    support = unpack_support(packed[: shape.support_bytes], shape)
    return with_values(support, np.frombuffer(packed[shape.support_bytes :], dtype=np.int8), shape)


def values_of(codes: Codes, shape: Shape) -> npt.NDArray[np.int8]:  # (kept,)
    """What is kept, cell by cell and in the order of channels."""
    cells = _cells(codes, shape)
    _check(cells != 0, shape)
    values: npt.NDArray[np.int8] = cells[cells != 0]
    return values


def with_values(support: Support, values: npt.NDArray[np.int8], shape: Shape) -> Codes:
    """The code with these values where its support is."""
    cells = np.zeros((shape.cells, PER_MAP), dtype=np.int8)
    cells[_cells(support, shape)] = values
    return _maps(cells, shape)


def pack_support(support: Support, shape: Shape) -> bytes:
    """Which numbers of each cell are kept."""
    cells = _cells(support, shape)
    _check(cells, shape)
    places = np.nonzero(cells)[1].reshape(shape.cells, shape.s)
    number = _CHOOSE[np.arange(1, shape.s + 1), places].sum(axis=1, dtype=np.uint64)
    bits = np.unpackbits(number.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)[:, 64 - shape.support_bits :]
    return np.packbits(bits).tobytes()


def unpack_support(packed: bytes, shape: Shape) -> Support:
    """The support that `pack_support` was given."""
    if len(packed) != shape.support_bytes:
        raise DataError("a packed support has the wrong length", given=f"{len(packed)} bytes for {shape}")
    count = shape.cells * shape.support_bits
    bits = np.zeros((shape.cells, 64), dtype=np.uint8)
    bits[:, 64 - shape.support_bits :] = np.unpackbits(np.frombuffer(packed, np.uint8), count=count).reshape(
        shape.cells, shape.support_bits
    )
    number = np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
    if (number >= np.uint64(math.comb(PER_MAP, shape.s))).any():
        raise DataError("a packed support names channels that there are not", given=shape)
    cells = np.zeros((shape.cells, PER_MAP), dtype=np.bool_)
    for k in range(shape.s, 0, -1):
        place = np.searchsorted(_CHOOSE[k], number, side="right") - 1  # the last C(place, k) that fits
        cells[np.arange(shape.cells), place] = True
        number = number - _CHOOSE[k, place]
    return _maps(cells, shape)


def entropy_bits(symbols: npt.NDArray[np.integer], axis: int | None = None) -> float:
    """Bits that an ideal order-0 coder spends on these symbols; along an axis, one coder for each place on it."""
    if axis is None:
        counts = np.unique(symbols, return_counts=True)[1]
        return float(-(counts * np.log2(counts / counts.sum())).sum())
    return sum(entropy_bits(one) for one in np.moveaxis(symbols, axis, 0))


def _check(cells: npt.NDArray[np.bool_], shape: Shape) -> None:
    if not (cells.sum(axis=1) == shape.s).all():
        raise DataError("every cell of a code keeps the same number of values", allowed=str(shape.s))


def _cells(maps: npt.NDArray[Number], shape: Shape) -> npt.NDArray[Number]:  # -> (cells, 64)
    if maps.shape != shape.code:
        raise DataError("a code has another shape than it should", given=maps.shape, allowed=str(shape.code))
    split = maps.reshape(shape.maps, PER_MAP, shape.rows, shape.columns)
    return split.transpose(0, 2, 3, 1).reshape(shape.cells, PER_MAP)


def _maps(cells: npt.NDArray[Number], shape: Shape) -> npt.NDArray[Number]:
    split = cells.reshape(shape.maps, shape.rows, shape.columns, PER_MAP).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(split).reshape(shape.code)
