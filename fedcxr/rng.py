"""Named random streams: the only source of randomness (keys excepted, which come from the operating system)."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence

import numpy as np


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """The generator that belongs to `path` under `seed`.

    Streams with different paths are independent, and a stream never depends on which others were drawn
    before it: that is what makes a result the same for any number of workers and for any engine.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, path)))


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed for someone who must not learn `seed` itself (the hash cannot be inverted)."""
    return int(_key(seed, (*path, "derived"))[0] >> np.uint64(1))


def _key(seed: int, path: Sequence[str | int]) -> np.ndarray:
    # repr() keeps the type and quotes, so ("a", 1), ("a", "1") and ("a1",) are three different streams. NumPy's
    # numbers and texts are made plain first: how they print depends on NumPy's version.
    plain = (str(part) if isinstance(part, str) else int(operator.index(part)) for part in path)
    digest = hashlib.blake2b(repr((int(seed), *plain)).encode(), digest_size=16).digest()
    return np.frombuffer(digest, dtype=np.uint64)
