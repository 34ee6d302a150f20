"""Numbers that describe a code without knowing where its values belong: what a recipient without a key can count."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from fedcxr.codes import Codes
from fedcxr.codes.support import size_curve

Numbers = npt.NDArray[np.float32]  # (n, d)

LARGEST = 32  # sizes of value that are counted one by one


def sizes(codes: Codes) -> Numbers:
    """Logarithms of bytes: of the code compressed as it is, without signs, and of which of its numbers are there."""
    parts = (codes, np.abs(codes.astype(np.int16)).astype(np.uint8), np.packbits(codes != 0, axis=-1))
    lengths = [[len(zlib.compress(part[film].tobytes(), 1)) for part in parts] for film in range(len(codes))]
    return np.log(np.array(lengths, dtype=np.float32))


def histogram(codes: Codes) -> Numbers:
    """How large values are: the curve of their sizes, and roots of how often each small size occurs."""
    flat = np.abs(codes.reshape(len(codes), -1).astype(np.int16))
    counts = np.stack([np.bincount(film, minlength=129)[:LARGEST] for film in flat]) / flat.shape[1]
    return np.concatenate([size_curve(codes), np.sqrt(counts)], axis=1).astype(np.float32)


def projections(codes: Codes) -> Numbers:
    """Roots of the mean size of value by channel and by cell: something where values stand in their places."""
    size = np.abs(codes.astype(np.float32))
    means: Numbers = np.concatenate([size.mean(axis=(2, 3)), size.mean(axis=1).reshape(len(codes), -1)], axis=1)
    return np.sqrt(means)


def masks(codes: Codes) -> Numbers:
    """What share of the numbers of each channel and of each cell is there."""
    there = (codes != 0).astype(np.float32)
    return np.concatenate([there.mean(axis=(2, 3)), there.mean(axis=1).reshape(len(codes), -1)], axis=1)


BLOCKS: Mapping[str, Callable[[Codes], Numbers]] = {
    block.__name__: block for block in (sizes, histogram, projections, masks)
}
