"""The form in which a release travels and is stored, and what is sure of one before anything of it is unpacked.

    magic, format, length of the signature, signature | length of the header, header, blocks

The signature covers the SHA-256 of everything behind it, so it is checked on raw bytes, before any of them is believed.
The header is small and plain: who, what, the facts, and of each array its name, type, shape and packed length. Whoever
reads it decides whether the arrays are what they can use. Only then the blocks are unpacked, one zstd frame for each
array, and the envelopes behind them are as they are.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import msgpack
import numpy as np
import numpy.typing as npt
import zstandard

from fedcxr.errors import Refused
from fedcxr.release._plain import unpacked

MAGIC = b"FCXR"
FORMAT = 2
DTYPES = frozenset({"uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float32"})
LARGEST = 1 << 34  # bytes of all arrays after decompression: twice NIH ChestX-ray14 at 256 px
LARGEST_HEADER = 1 << 23  # bytes: seven for each of a million films
LONGEST_SIGNATURE = 1 << 12  # bytes
LONGEST_NAME = 200  # characters
DENSEST = 1 << 12  # no film that shows anything is packed to so small a part of its size ...
SLACK = 1 << 28  # ... or it is no burden
DIMENSIONS = 8
PARTS = frozenset({"kind", "site", "method", "facts", "arrays", "envelopes"})

Named = TypeVar("Named")
Arrays = Mapping[str, npt.NDArray[np.generic]]
WRONG = (
    msgpack.exceptions.UnpackException,
    zstandard.ZstdError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
)


@dataclass(frozen=True)
class Stated:
    """What a header says of an array."""

    dtype: str
    shape: tuple[int, ...]
    packed: int  # bytes of its block

    @property
    def size(self) -> int:
        """In bytes, unpacked."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Header:
    """What a release says of itself, within bounds and well-formed. Nothing in it is true for that."""

    kind: str
    site: str
    method: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, Stated]
    envelopes: Mapping[str, int]  # bytes of each


@dataclass(frozen=True)
class Packed:
    """A release as it travels."""

    body: bytes | memoryview
    signature: bytes = b""

    @classmethod
    def of(cls, header: Mapping[str, Any], arrays: Arrays, envelopes: Mapping[str, bytes]) -> Packed:
        """The same arrays and facts make the same bytes, wherever they lay in memory."""
        compress = zstandard.ZstdCompressor(level=1).compress
        stated, blocks = [], []
        for name, array in sorted(arrays.items()):
            blocks.append(compress(_plain(array).data))
            stated.append([name, array.dtype.name, list(array.shape), len(blocks[-1])])
        blocks += [envelope for _, envelope in sorted(envelopes.items())]
        told = {
            **header,
            "arrays": stated,
            "envelopes": [[name, len(envelope)] for name, envelope in sorted(envelopes.items())],
        }
        packed: bytes = msgpack.packb(told, use_bin_type=True)
        return cls(b"".join([struct.pack(">I", len(packed)), packed, *blocks]))

    @classmethod
    def from_bytes(cls, data: bytes) -> Packed:
        """What lies behind a release's first bytes, none of which is looked at yet."""
        start = len(MAGIC) + 1 + 2
        if len(data) < start or data[: start - 2] != MAGIC + bytes([FORMAT]):
            raise Refused("this is not a release", allowed=f"format {FORMAT}")
        end = start + int.from_bytes(data[start - 2 : start])
        if end > min(len(data), start + LONGEST_SIGNATURE):
            raise Refused("a release is damaged", do="its signature is too long")
        return cls(memoryview(data)[end:], bytes(data[start:end]))

    def to_bytes(self) -> bytes:
        """All of it."""
        start = MAGIC + bytes([FORMAT]) + struct.pack(">H", len(self.signature))
        return b"".join([start, self.signature, self.body])

    @cached_property
    def digest(self) -> str:
        """What a signature covers: every byte but its own."""
        return hashlib.sha256(self.body).hexdigest()

    @cached_property
    def header(self) -> Header:
        """What it says of itself; refused unless that is whole and accounts for every byte."""
        try:
            return self._header()
        except WRONG as error:
            raise damaged(error) from None

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Unpacked; refused if they are not as the header says, or more than this machine should hold."""
        header = self.header
        try:
            size, packed = (sum(getattr(one, what) for one in header.arrays.values()) for what in ("size", "packed"))
            if size > min(LARGEST, memory() // 2) or size > SLACK + DENSEST * packed:
                raise ValueError("its arrays are too large")
            blocks = [memoryview(self.body)[place] for place in self._places()]
            return {
                name: _array(stated, block)
                for (name, stated), block in zip(header.arrays.items(), blocks, strict=False)
            }
        except WRONG as error:
            raise damaged(error) from None

    def envelopes(self) -> dict[str, bytes]:
        """As they were sealed."""
        places = self._places()[len(self.header.arrays) :]
        return {name: bytes(self.body[place]) for name, place in zip(self.header.envelopes, places, strict=True)}

    def _header(self) -> Header:
        length = int.from_bytes(self.body[:4])
        if not 0 < length <= min(LARGEST_HEADER, len(self.body) - 4):
            raise ValueError("its header is too long")
        told = unpacked(self.body[4 : 4 + length])
        if not isinstance(told, dict) or told.keys() != PARTS:
            raise ValueError(f"expected {', '.join(sorted(PARTS))}")
        arrays = _named([(name, Stated(_type(d), _shape(s), _length(packed))) for name, d, s, packed in told["arrays"]])
        envelopes = _named([(name, _length(sealed)) for name, sealed in told["envelopes"]])
        blocks = sum(stated.packed for stated in arrays.values()) + sum(envelopes.values())
        if 4 + length + blocks != len(self.body):
            raise ValueError("more or less follows than the header says")
        if not isinstance(told["facts"], dict):
            raise TypeError("facts are named")
        return Header(_name(told["kind"]), _name(told["site"]), _name(told["method"]), told["facts"], arrays, envelopes)

    def _places(self) -> list[slice]:
        """Where each array and each envelope lies."""
        lengths = [*(stated.packed for stated in self.header.arrays.values()), *self.header.envelopes.values()]
        ends = 4 + int.from_bytes(self.body[:4]) + np.cumsum([0, *lengths], dtype=np.int64)
        return [slice(one, other) for one, other in itertools.pairwise(ends.tolist())]


def damaged(error: Exception) -> Refused:
    """What is said of a release that is none."""
    return Refused("a release is damaged", do=f"{type(error).__name__}: {error}"[:400])


def memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _plain(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """As bytes lie in a release: row after row, little-endian."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _array(stated: Stated, block: memoryview) -> npt.NDArray[np.generic]:
    if zstandard.frame_content_size(block) != stated.size:
        raise ValueError("an array's data does not fit its shape")
    raw = zstandard.ZstdDecompressor().decompress(block, max_output_size=max(stated.size, 1), allow_extra_data=False)
    if len(raw) != stated.size:
        raise ValueError("an array's data does not fit its shape")
    dtype = np.dtype(stated.dtype)
    return np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(stated.shape)


def _named(pairs: Sequence[tuple[str, Named]]) -> dict[str, Named]:
    """In the order of their names, none of which is there twice."""
    found = {_name(name): value for name, value in pairs}
    if list(found) != sorted(found) or len(found) != len(pairs):
        raise ValueError("names that are not in order, or not unique")
    return found


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(f"a name is text of up to {LONGEST_NAME} printable characters")
    return value


def _type(value: object) -> str:
    if not isinstance(value, str) or value not in DTYPES:
        raise ValueError("an array of a forbidden type")
    return value


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > DIMENSIONS or not all(type(n) is int and n >= 0 for n in value):
        raise ValueError("an array of a forbidden shape")
    return tuple(value)


def _length(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a length is a whole number")
    return value
