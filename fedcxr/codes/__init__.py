"""Sparse codes as bytes: which channels of a cell hold a number, and which numbers, always in the same length.

A length that depended on the film would tell films apart by the size of what is sealed, so nothing here compresses.
Where each cell keeps s of its 64 numbers, its choice is one of C(64, s): its number in the combinatorial number system.
Where cells share their numbers, all places of the film in order, as Elias and Fano store them: the low bits of each as
they are, the rest as steps from one to the next. So many places take so many bits, whichever they are; above s = 16
a bit for each place, kept or not, would be shorter.
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
Bytes = npt.NDArray[np.uint8]

# _CHOOSE[k, place] = C(place, k): at most C(64, 32) < 2^63
_CHOOSE = np.array([[math.comb(place, k) for place in range(PER_MAP + 1)] for k in range(PER_MAP + 1)], dtype=np.uint64)


@dataclass(frozen=True)
class Shape:
    """Of a film's code: which cells there are and how many numbers each holds."""

    s: int  # numbers per cell and map
    maps: int
    rows: int  # cells
    columns: int
    together: int = 1  # cells of a square so many wide share their numbers, s for each of them; at the edge, fewer do

    @classmethod
    def of_film(cls, size: tuple[int, int], s: int, maps: int = 1, together: int = 1) -> Shape:
        return cls(s, maps, -(-size[0] // CELL), -(-size[1] // CELL), together)

    @property
    def cells(self) -> int:
        return self.maps * self.rows * self.columns

    @property
    def kept(self) -> int:
        return self.s * self.cells

    @property
    def support_bits(self) -> int:
        """Per cell."""
        if self.together == 1:
            return (math.comb(PER_MAP, self.s) - 1).bit_length()
        return self.s * self.low_bits + self.s + (PER_MAP >> self.low_bits)

    @property
    def low_bits(self) -> int:
        """How much of a place is stored as it is, if cells share their numbers: what makes the whole shortest."""
        return (PER_MAP // self.s).bit_length() - 1

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
    """Which numbers are kept."""
    cells = _cells(support, shape)
    _check(cells, shape)
    return (_numbered(cells, shape) if shape.together == 1 else _stepped(cells, shape)).tobytes()


def unpack_support(packed: bytes, shape: Shape) -> Support:
    """The support that `pack_support` was given."""
    if len(packed) != shape.support_bytes:
        raise DataError("a packed support has the wrong length", given=f"{len(packed)} bytes for {shape}")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=shape.cells * shape.support_bits)
    cells = _from_numbers(bits, shape) if shape.together == 1 else _from_steps(bits, shape)
    _check(cells, shape)
    return _maps(cells, shape)


def _numbered(cells: Support, shape: Shape) -> Bytes:
    """The number of each cell's choice among all that there are."""
    places = np.nonzero(cells)[1].reshape(shape.cells, shape.s)
    number = _CHOOSE[np.arange(1, shape.s + 1), places].sum(axis=1, dtype=np.uint64)
    bits = np.unpackbits(number.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)[:, 64 - shape.support_bits :]
    return np.packbits(bits)


def _from_numbers(packed: Bytes, shape: Shape) -> Support:  # (cells, 64)
    bits = np.zeros((shape.cells, 64), dtype=np.uint8)
    bits[:, 64 - shape.support_bits :] = packed.reshape(shape.cells, shape.support_bits)
    number = np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
    if (number >= np.uint64(math.comb(PER_MAP, shape.s))).any():
        raise DataError("a packed support names channels that there are not", given=shape)
    cells = np.zeros((shape.cells, PER_MAP), dtype=np.bool_)
    for k in range(shape.s, 0, -1):
        place = np.searchsorted(_CHOOSE[k], number, side="right") - 1  # the last C(place, k) that fits
        cells[np.arange(shape.cells), place] = True
        number = number - _CHOOSE[k, place]
    return cells


def _stepped(cells: Support, shape: Shape) -> Bytes:
    """A one for each place, after as many zeros as its high part lies above that of the place before; low bits."""
    places = np.flatnonzero(cells)
    steps = np.zeros(_steps(shape), dtype=np.uint8)
    steps[(places >> shape.low_bits) + np.arange(shape.kept)] = 1
    low = places[:, None] >> np.arange(shape.low_bits) & 1
    return np.packbits(np.concatenate([steps, low.astype(np.uint8).ravel()]))


def _from_steps(bits: Bytes, shape: Shape) -> Support:  # (cells, 64)
    ones = np.flatnonzero(bits[: _steps(shape)])
    low = bits[_steps(shape) :].reshape(shape.kept, shape.low_bits) @ (1 << np.arange(shape.low_bits))
    if len(ones) != shape.kept:
        raise DataError("a packed support has another number of places than it should", given=shape)
    places = ((ones - np.arange(shape.kept)) << shape.low_bits) + low
    support = np.zeros(shape.cells * PER_MAP, dtype=np.bool_)
    if (np.diff(places, append=len(support)) <= 0).any():
        raise DataError("a packed support names places that there are not, or not in order", given=shape)
    support[places] = True
    return support.reshape(shape.cells, PER_MAP)


def _steps(shape: Shape) -> int:
    """Of a support's bits, how many tell the high parts."""
    return shape.kept + (shape.cells * PER_MAP >> shape.low_bits)


def entropy_bits(symbols: npt.NDArray[np.integer], axis: int | None = None) -> float:
    """Bits that an ideal order-0 coder spends on these symbols; along an axis, one coder for each place on it."""
    if axis is None:
        counts = np.unique(symbols, return_counts=True)[1]
        return float(-(counts * np.log2(counts / counts.sum())).sum())
    return sum(entropy_bits(one) for one in np.moveaxis(symbols, axis, 0))


def _check(cells: Support, shape: Shape) -> None:
    """Each square of cells keeps s numbers for each of its cells."""
    extra = cells.sum(axis=1).reshape(shape.maps, shape.rows, shape.columns) - shape.s
    for axis, length in ((1, shape.rows), (2, shape.columns)):
        extra = np.add.reduceat(extra, np.arange(0, length, shape.together), axis=axis)
    if extra.any():
        raise DataError(
            "every cell of a code, or square of cells that share, keeps the same number of values per cell",
            allowed=str(shape.s),
        )


def _cells(maps: npt.NDArray[Number], shape: Shape) -> npt.NDArray[Number]:  # -> (cells, 64)
    if maps.shape != shape.code:
        raise DataError("a code has another shape than it should", given=maps.shape, allowed=str(shape.code))
    split = maps.reshape(shape.maps, PER_MAP, shape.rows, shape.columns)
    return split.transpose(0, 2, 3, 1).reshape(shape.cells, PER_MAP)


def _maps(cells: npt.NDArray[Number], shape: Shape) -> npt.NDArray[Number]:
    split = cells.reshape(shape.maps, shape.rows, shape.columns, PER_MAP).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(split).reshape(shape.code)
