"""Plain data from anyone: numbers, texts, lists and mappings, read within bounds on how many, how long and how deep.

A few bytes can ask for much memory: an empty mapping takes one byte on the way and sixty-four once it is read. So lists
and mappings are counted while they are read, and not after.
"""

from __future__ import annotations

from typing import Any

import msgpack

MOST_PARTS = 1 << 18  # lists and mappings: one for each film that a method complained about, and some more
DEEPEST = 16  # a list in a list in a mapping ...
LONGEST_TEXT = 1 << 12  # of a text, or of bytes
LONGEST_LIST = 1 << 21  # one number for each film, and no site has more films
WIDEST = 1 << 12  # a mapping


def unpacked(data: bytes | memoryview) -> Any:
    """What was packed; raises ValueError, or one of msgpack's own errors, if that is more than plain data."""
    left = MOST_PARTS

    def counted(part: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"more than {MOST_PARTS} lists and mappings")
        return part

    found = msgpack.unpackb(
        data,
        raw=False,
        strict_map_key=True,
        object_hook=counted,
        list_hook=counted,
        max_str_len=LONGEST_TEXT,
        max_bin_len=LONGEST_TEXT,
        max_array_len=LONGEST_LIST,
        max_map_len=WIDEST,
        max_ext_len=0,  # of no type but msgpack's own
    )
    _check(found, DEEPEST)
    return found


def _check(part: object, levels: int) -> None:
    if isinstance(part, dict):
        if not levels:
            raise ValueError(f"data deeper than {DEEPEST} levels")
        for key, value in part.items():
            if not isinstance(key, str):
                raise TypeError("a mapping has names for keys")
            _check(value, levels - 1)
    elif isinstance(part, list):
        if not levels:
            raise ValueError(f"data deeper than {DEEPEST} levels")
        for value in part:
            if type(value) is not int:  # most lists hold one number for each film
                _check(value, levels - 1)
    elif part is not None and type(part) not in (bool, int, float, str, bytes):
        raise TypeError(f"no plain data: {type(part).__name__}")
