"""Numbers that describe a film without looking at it as a picture, in blocks: what a recipient can count and weigh."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from fedcxr.view import Films

Numbers = npt.NDArray[np.float32]  # (n, d)

BINS = 64  # of grey levels
LINES = 64  # rows and columns, at most: those of larger films are put together
RINGS = 24  # of equal width, from the mean to the highest frequency along an axis
SECTORS = 6  # of half a turn
CELLS = 8  # along each side of a film, for what is counted place by place
MASK = 32  # along each side, for the outline of what was touched
PERIODS = (2, 4, 8)  # pixels: sides of the squares that films are averaged over


def sizes(films: Films) -> Numbers:
    """Logarithms of bytes: of the film compressed as it is, after the filters of PNG, and bit by bit."""
    return np.log(np.array([[len(zlib.compress(part, 1)) for part in _parts(film)] for film in films], np.float32))


def _parts(film: Films) -> list[bytes]:
    left, up = np.diff(film, axis=1, prepend=0), np.diff(film, axis=0, prepend=0)
    planes = (np.packbits(film >> bit & 1) for bit in range(8))
    return [part.tobytes() for part in (film, left, up, *planes)]


def histogram(films: Films) -> Numbers:
    """How often grey levels occur: roots of shares, black and white apart, and the levels between equal shares."""
    flat = np.sort(films.reshape(len(films), -1), axis=1)
    counts = np.stack([np.bincount(film, minlength=256) for film in flat]) / flat.shape[1]
    shares = np.sqrt(np.concatenate([counts.reshape(len(films), BINS, -1).sum(2), counts[:, [0, 255]]], axis=1))
    between = flat[:, np.linspace(0, flat.shape[1] - 1, BINS + 1).astype(np.intp)] / 255.0
    return np.concatenate([shares, between], axis=1).astype(np.float32)


def projections(films: Films) -> Numbers:
    """Means and deviations of rows and of columns."""
    scaled = films.astype(np.float32) / np.float32(255)
    lines = [summary(axis=axis) for summary in (scaled.mean, scaled.std) for axis in (2, 1)]
    return np.concatenate([_pooled(line, LINES) for line in lines], axis=1)


def spectrum(films: Films) -> Numbers:
    """Logarithms of power, by frequency and direction."""
    h, w = films.shape[1:]
    centred = films / np.float32(255) - films.mean(axis=(1, 2), keepdims=True, dtype=np.float32) / np.float32(255)
    window = np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[None, 1:-1]  # edges would outshine everything
    power = np.abs(np.fft.rfft2(centred * window.astype(np.float32))) ** 2
    down, right = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    ring = np.minimum((np.hypot(down, right) * 2 * RINGS).astype(np.intp), RINGS - 1)
    sector = np.minimum((np.mod(np.arctan2(down, right), np.pi) / np.pi * SECTORS).astype(np.intp), SECTORS - 1)
    place = (ring * SECTORS + sector).ravel()
    members = np.bincount(place, minlength=RINGS * SECTORS)
    sums = np.stack([np.bincount(place, one.ravel(), RINGS * SECTORS) for one in power])
    used = members > 0
    return _log(sums[:, used] / members[used] + 1e-6)


def noise(films: Films) -> Numbers:
    """How much pixels differ from their neighbours, cell by cell: logarithms."""
    return _log_means(_residue(films), CELLS)


def edges(films: Films) -> Numbers:
    """How steep films are in each direction, cell by cell: what remains of a film whose pixels were moved."""
    scaled = films.astype(np.float32) / np.float32(255)
    smooth = _blurred(scaled)
    down, right = np.gradient(smooth, axis=(1, 2))
    diagonal, other = (down + right) / np.sqrt(np.float32(2)), (down - right) / np.sqrt(np.float32(2))
    return np.concatenate([_log_means(np.abs(one), CELLS) for one in (down, right, diagonal, other)], axis=1)


def masks(films: Films) -> Numbers:
    """The outline of where pixels look touched: where they differ from their neighbours more than the film's median."""
    level = _cell_means(_residue(films), MASK)
    usual = np.median(level, axis=1, keepdims=True)
    touched: Numbers = np.tanh(np.log((level + 1e-3) / (usual + 1e-3))).astype(np.float32)
    return touched


def cells(films: Films) -> Numbers:
    """What averaging over squares leaves: steps across each line of a grid, line by line within its period."""
    scaled = films.astype(np.float32) / np.float32(255)
    found = []
    for axis in (1, 2):
        steps = np.abs(np.diff(scaled, axis=axis)).mean(axis=3 - axis)  # (n, lines - 1)
        for period in PERIODS:
            found += [steps[:, phase::period].mean(axis=1) for phase in range(min(period, steps.shape[1]))]
    return _log(np.stack(found, axis=1) + np.float32(1e-4))


BLOCKS: Mapping[str, Callable[[Films], Numbers]] = {
    block.__name__: block for block in (sizes, histogram, projections, spectrum, noise, edges, masks, cells)
}


def _residue(films: Films) -> npt.NDArray[np.float32]:  # (n, h, w)
    scaled = films.astype(np.float32) / np.float32(255)
    residue: npt.NDArray[np.float32] = np.abs(scaled - _blurred(scaled))
    return residue


def _blurred(scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of each pixel and its eight neighbours; edges are repeated."""
    for axis in (1, 2):
        width = [(1, 1) if one == axis else (0, 0) for one in range(3)]
        padded = np.pad(scaled, width, mode="edge")
        before, here, after = (np.take(padded, np.arange(scaled.shape[axis]) + step, axis=axis) for step in range(3))
        scaled = (before + here + after) / np.float32(3)
    return scaled


def _cell_means(maps: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:  # (n, side * side)
    down = _pooled(maps, side)
    across = _pooled(np.ascontiguousarray(down.transpose(0, 2, 1)), side)
    return across.transpose(0, 2, 1).reshape(len(maps), -1)


def _log_means(maps: npt.NDArray[np.float32], side: int) -> Numbers:
    return _log(_cell_means(maps, side) + np.float32(1e-3))


def _log(numbers: npt.NDArray[np.floating]) -> Numbers:
    logarithms: Numbers = np.log(numbers).astype(np.float32)
    return logarithms


def _pooled(lines: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """Means of neighbouring lines along the second axis, so that there are so many at most."""
    length = lines.shape[1]
    starts = np.unique(np.linspace(0, length, min(most, length), endpoint=False).astype(np.intp))
    widths = np.diff(starts, append=length).reshape(-1, *[1] * (lines.ndim - 2))
    pooled: npt.NDArray[np.float32] = (np.add.reduceat(lines, starts, axis=1) / widths).astype(np.float32)
    return pooled
