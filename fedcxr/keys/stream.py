"""Numbers that only the holder of a key can foresee: the same key draws the same ones, on every machine."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

KEY_BYTES = 32


def generator(key: bytes) -> np.random.Generator:
    """The same keystream behind NumPy's distributions, for what needs normal or Laplace numbers under a key."""
    from randomgen import ChaCha  # here and not above: only hospitals draw so, and compiled code takes a while to load

    return np.random.Generator(ChaCha(key=int.from_bytes(key, "little"), counter=0, rounds=20))


class KeyedStream:
    """ChaCha20 (RFC 8439) as a generator. Whoever draws in the same order draws the same; a key serves one stream.

    NumPy's generators are no substitute: whoever sees some of their output can work out the rest.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        # Counter and nonce start at zero: no two streams share a key.
        self._cipher = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a keyed stream is neither pickled nor copied")

    def draw(self, n: int) -> bytes:
        """The next n bytes."""
        return self._cipher.update(bytes(n))

    def words(self, n: int) -> npt.NDArray[np.uint64]:
        """(n,), each of the 2^64 values equally likely."""
        return np.frombuffer(self.draw(8 * n), dtype="<u8").astype(np.uint64, copy=False)

    def permutation(self, n: int) -> npt.NDArray[np.intp]:
        """(n,), each of the n! orders equally likely: `hidden = plain[order]`, and back `plain[order] = hidden`."""
        while True:
            words = self.words(n)
            order = np.argsort(words)
            ranked = words[order]
            # Distinct words leave no order preferred; equal ones would be ordered by the sort, so all are drawn anew.
            if not np.any(ranked[1:] == ranked[:-1]):
                return order

    def integers(self, n: int, below: int) -> npt.NDArray[np.int64]:
        """(n,) in [0, below), each equally likely."""
        if not 0 < below <= 1 << 63:
            raise ValueError(f"integers below {below}: a bound lies in 1 .. 2^63")
        # Words of the last, incomplete run of `below` values would favour the small ones; they are drawn anew.
        last = np.uint64((1 << 64) - (1 << 64) % below - 1)
        kept = np.empty(0, dtype=np.uint64)
        while len(kept) < n:
            words = self.words(n - len(kept))
            kept = np.concatenate([kept, words[words <= last]])
        return (kept % np.uint64(below)).astype(np.int64)

    def uniform(self, n: int) -> npt.NDArray[np.float64]:
        """(n,) in [0, 1), multiples of 2^-53."""
        return (self.words(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def signs(self, n: int) -> npt.NDArray[np.int8]:
        """(n,), each -1 or 1."""
        bits = np.unpackbits(np.frombuffer(self.draw((n + 7) // 8), dtype=np.uint8), count=n)
        return (2 * bits.astype(np.int8) - 1).astype(np.int8)
