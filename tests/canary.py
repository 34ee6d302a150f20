"""Looks for keys where none may be: raw, in hex, in base64, as a list of numbers, whole or in part."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

WINDOW = 6  # bytes: a part this long is found; chance finds it in a gigabyte once in 250,000 times


@cache
def traces(key: bytes) -> frozenset[bytes]:
    """How any part of a key may look."""
    return frozenset(_traces(key))


def _traces(key: bytes) -> Iterator[bytes]:
    for start in range(len(key) - WINDOW + 1):
        yield from written(key[start : start + WINDOW])


def written(part: bytes) -> Iterator[bytes]:
    """How bytes may be written: as many as three or a multiple of it."""
    yield part
    yield part.hex().encode()
    yield part.hex().upper().encode()
    yield part.hex(":").encode()
    yield ", ".join(map(str, part)).encode()
    yield repr(part)[2:-1].encode()
    yield base64.b64encode(part)  # wherever a run of three bytes starts, one window starts there too
    yield base64.urlsafe_b64encode(part)


def leaks(keys: Iterable[bytes], *places: bytes | str | Path | BaseException) -> list[str]:
    """In which of these places any of these keys shows: bytes, texts, exceptions with their causes, folders."""
    wanted = frozenset[bytes]().union(*map(traces, keys))
    return [name for place in places for name, data in _contents(place) if any(trace in data for trace in wanted)]


def _contents(place: bytes | str | Path | BaseException) -> Iterator[tuple[str, bytes]]:
    if isinstance(place, Path):
        for path in place.rglob("*") if place.is_dir() else [place]:
            if path.is_file():
                yield str(path), path.read_bytes()
    elif isinstance(place, BaseException):
        told: BaseException | None = place
        while told is not None:
            yield type(place).__name__, f"{told} {told!r} {told.args!r}".encode()
            told = told.__cause__ or told.__context__
    else:
        yield "text", place.encode() if isinstance(place, str) else place


ANCHOR = 9  # bytes by which a canary is recognised before the rest of it is looked at
BLOCK = 1 << 24  # bytes that are looked at together
LARGEST_FRAME = 1 << 22  # bytes, packed
FRAME = b"\x28\xb5\x2f\xfd"  # how what zstd has packed begins


class Search:
    """For hundreds of thousands of canaries at once, each of which is something: a row, a name."""

    def __init__(self, wanted: Mapping[bytes, str]) -> None:
        bare = {_bare(canary): what for canary, what in wanted.items()}
        short = [canary for canary in bare if len(canary) < ANCHOR]
        assert not short, f"too short to be told from chance: {short[:3]}"
        self._longest = max(map(len, bare))
        self._by_anchor = defaultdict[bytes, list[tuple[bytes, str]]](list)
        for canary, what in bare.items():
            self._by_anchor[canary[:ANCHOR]].append((canary, what))
        thirds = _triples(np.frombuffer(b"".join(self._by_anchor), np.uint8))[::3].reshape(-1, 3).astype(np.int64)
        self._first = np.zeros(1 << 24, dtype=np.bool_)
        self._first[thirds[:, 0]] = True
        self._pairs = [np.unique(thirds[:, n] << 24 | thirds[:, n + 1]) for n in (0, 1)]

    def found(self, *places: bytes) -> set[str]:
        """What shows in any of these, and in what is packed in them."""
        return {what for place in places for data in unfolded(place) for what in self._found(data)}

    def _found(self, data: bytes) -> Iterator[str]:
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK + self._longest]
            if len(block) < ANCHOR:
                return
            codes = _triples(np.frombuffer(block, np.uint8))
            hits = np.flatnonzero(self._first[codes[: len(codes) - 6]])
            for pairs, offset in zip(self._pairs, (0, 3), strict=True):
                here = codes[hits + offset].astype(np.int64) << 24 | codes[hits + offset + 3]
                hits = hits[pairs[np.searchsorted(pairs[:-1], here)] == here]
            for hit in hits.tolist():
                for canary, what in self._by_anchor.get(block[hit : hit + ANCHOR], ()):
                    if block.startswith(canary, hit):
                        yield what


def unfolded(data: bytes) -> Iterator[bytes]:
    """The data, and whatever zstd has packed anywhere in it, unpacked."""
    yield data
    view, place = memoryview(data), data.find(FRAME)
    while place >= 0:
        with suppress(zstandard.ZstdError):  # four bytes that happen to be the same, or what is left of a frame
            yield zstandard.ZstdDecompressor().decompressobj().decompress(view[place : place + LARGEST_FRAME])
        place = data.find(FRAME, place + 1)


def _bare(canary: bytes) -> bytes:
    """Without the zeros that it begins with, of which there are too many everywhere."""
    rest = canary.lstrip(b"\0")
    return rest if len(rest) >= ANCHOR else canary


def _triples(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Every three bytes that stand together, as a number."""
    wide = data.astype(np.int32)
    return wide[:-2] << 16 | wide[1:-1] << 8 | wide[2:]
