"""Looks for keys where none may be: raw, in hex, in base64, as a list of numbers, whole or in part."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

WINDOW = 6  # bytes: a part this long is found; chance finds it in a gigabyte once in 250,000 times


@cache
def traces(key: bytes) -> frozenset[bytes]:
    """How any part of a key may look."""
    return frozenset(_traces(key))


def _traces(key: bytes) -> Iterator[bytes]:
    for start in range(len(key) - WINDOW + 1):
        part = key[start : start + WINDOW]
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
