"""Attacks on ambiguated codes: which numbers of a public code are true, and what film do they show?

Everything here knows the codec and the mechanism (Kerckhoffs) and holds films of its own, whose codes it can hide
under keys of its own. Scores are higher where a number is more likely true; they have the shape of the codes.
Where the mechanism shuffles, public values belong to no channel, and what is known of a place is what films have in
common: `prior`. An attack that is no better than that has learnt nothing about the film.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.codes import PER_MAP, Codes

Scores = npt.NDArray[np.float32]  # (n, c, h, w)
LEVELS = 256
CERTAIN = 100.0  # outweighs every likelihood ratio
SIZES = 40  # points of the curve of a film's sizes of value
ROUNDING = 1e-6  # equal films may correlate a little differently


@dataclass(frozen=True)
class Practice:
    """The adversary's own films: their codes and what the mechanism makes of them."""

    public: Codes  # (n, p, h, w)
    codes: Codes  # (n, c, h, w)
    in_place: bool  # whether public values stand where their channel and cell are: shuffled ones may be as many


def prior(practice: Practice, films: int) -> Scores:
    """How often a channel is kept in a cell: what one knows without looking."""
    kept = practice.codes != 0
    often = kept.mean(axis=(0, 2, 3), keepdims=True)
    # A cell's own habit counts as much as so many films say about it.
    here = (kept.sum(axis=0, keepdims=True) + 4 * often) / (len(kept) + 4)
    return np.broadcast_to(_log_odds(here), (films, *kept.shape[1:])).astype(np.float32)


def exact_order(public: Codes, s_n: int) -> Scores:
    """No learning: the smallest negative and the smallest positive values of a cell are true, as many as are left
    once half of the fakes are taken off each side."""
    n, c, h, w = public.shape
    values = public.reshape(n, c // PER_MAP, PER_MAP, h, w).astype(np.int16)
    scores = np.full(values.shape, -PER_MAP, dtype=np.float32)
    for sign, fakes in ((-1, -(-s_n // 2)), (1, s_n // 2)):
        one = values * sign > 0
        # Places in the order of values; those of the other sign come last.
        rank = np.where(one, values, np.int16(1000)).argsort(axis=2, kind="stable").argsort(axis=2, kind="stable")
        true = one.sum(axis=2, keepdims=True) - fakes
        scores = np.where(one, (true - rank - 0.5).astype(np.float32), scores)
    return scores.reshape(public.shape)


def likelihood_ratio(public: Codes, practice: Practice) -> Scores:
    """By channel: how often this value was true and how often fake among the adversary's own films."""
    before = prior(practice, len(public))
    if not practice.in_place:
        return before
    scores = np.empty(public.shape, dtype=np.float32)
    cells = 1.0 * practice.codes[:, 0].size
    for channel in range(public.shape[1]):
        shown, kept = practice.public[:, channel], practice.codes[:, channel] != 0
        true, fake = (np.bincount(shown[part].astype(np.int16) + 128, minlength=LEVELS) for part in (kept, ~kept))
        # Counts of neighbouring values help where a value was rare.
        odds = np.log(_smooth(true) + 0.5 / cells) - np.log(_smooth(fake) + 0.5 / cells)
        scores[:, channel] = odds.astype(np.float32)[public[:, channel].astype(np.int16) + 128]
    scores += before
    return np.where(public == 0, np.float32(-50), scores)


def intersection(first: Codes, second: Codes) -> Scores:
    """Two releases of one film: a number that stands in both is true."""
    both, nothing = (first == second) & (first != 0), first == 0
    scores: Scores = both.astype(np.float32) - nothing.astype(np.float32)
    return scores


def chosen(scores: Scores, s: int, together: int = 1) -> npt.NDArray[np.bool_]:
    """The support an attack decides for: in each map the best places of each square of cells, s for each of these."""
    n, c, h, w = scores.shape
    maps, beyond = c // PER_MAP, ((0, -h % together), (0, -w % together))
    split = np.pad(scores.reshape(n, maps, PER_MAP, h, w), ((0, 0), (0, 0), (0, 0), *beyond), constant_values=-np.inf)
    # As the codec has it: a cell beyond the edge keeps s numbers, come what may.
    split[:, :, :s, h:] = split[:, :, :s, :, w:] = np.inf
    rows, columns = split.shape[3] // together, split.shape[4] // together
    squares = split.reshape(n, maps, PER_MAP, rows, together, columns, together).transpose(0, 1, 3, 5, 2, 4, 6)
    places = -squares.reshape(n, maps, rows, columns, -1)
    best = np.argpartition(places, s * together**2 - 1, axis=-1)[..., : s * together**2]
    support = np.zeros(places.shape, dtype=np.bool_)
    np.put_along_axis(support, best, True, axis=-1)
    support = support.reshape(squares.shape).transpose(0, 1, 4, 2, 5, 3, 6).reshape(split.shape)
    return support[..., :h, :w].reshape(scores.shape)


def recovered(scores: Scores, codes: Codes, s: int, together: int = 1) -> npt.NDArray[np.float64]:  # (n,)
    """The share of a film's support that the attack's decision holds."""
    true = codes != 0
    hit: npt.NDArray[np.float64] = (chosen(scores, s, together) & true).sum(axis=(1, 2, 3)) / true.sum(axis=(1, 2, 3))
    return hit


def candidates_in_place(public: Codes, candidates: Codes) -> npt.NDArray[np.float32]:
    """Is this public code of that film? (n, m): the share of the candidate's numbers that stand in it."""
    shares = [[((a == b) & (b != 0)).sum() / (b != 0).sum() for b in candidates] for a in public]
    return np.array(shares, dtype=np.float32)


def candidates_by_values(public: Codes, candidates: Codes) -> npt.NDArray[np.float32]:
    """The same from how often each size of number occurs, which no shuffle hides: (n, m)."""
    shown, expected = _size_counts(public), _size_counts(candidates)
    share = shown.sum(axis=1)[:, None] / expected.sum(axis=1)[None]
    spread = (shown[:, None, 1:] - share[..., None] * expected[None, :, 1:]) ** 2 / (expected[None, :, 1:] + 1.0)
    missing = np.maximum(expected[None, :, 1:] - shown[:, None, 1:], 0).sum(axis=2)
    unlike: npt.NDArray[np.float64] = spread.sum(axis=2) + 1e3 * missing
    return -unlike.astype(np.float32)


def size_curve(codes: Codes) -> npt.NDArray[np.float32]:  # (n, SIZES)
    """How large a film's values are, from its smallest to its largest: what no shuffle hides, as a smooth curve.

    Roots of evenly spaced quantiles, each level's values spread evenly over it.
    """
    counts = _size_counts(codes)[:, 1:]
    at, levels = np.linspace(0.005, 0.995, SIZES), np.arange(1, 128)
    below = (np.cumsum(counts, axis=1) - counts / 2) / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rising = below + 1e-9 * levels  # levels without a value would tie
    curves = [np.interp(at, shares, levels) for shares in rising]
    return np.sqrt(np.stack(curves)).astype(np.float32)


def best_match(pictures: npt.NDArray[np.floating | np.uint8], films: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each picture correlates most with the film of its own row; a tie is no match."""
    alike = correlation(pictures, films)
    own = np.diag(alike).copy()
    np.fill_diagonal(alike, -np.inf)
    return np.asarray(own > alike.max(axis=1) + ROUNDING)


def correlation(pictures: npt.NDArray[np.floating | np.uint8], films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Of each picture with each film: (n, m)."""
    return np.asarray(_standard(pictures) @ _standard(films).T)


def _standard(pictures: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def _size_counts(codes: Codes) -> npt.NDArray[np.int64]:  # (n, 128)
    return np.stack([np.bincount(np.abs(code.ravel().astype(np.int16)), minlength=128) for code in codes])


def _log_odds(share: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    clipped = np.clip(share, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped) - np.log(1 - clipped))


def _smooth(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    wide = np.convolve(counts, [0.1, 0.2, 0.4, 0.2, 0.1], mode="same")
    return np.asarray(np.where(np.arange(LEVELS) == 128, counts, wide) / max(counts.sum(), 1) * (counts.sum() > 0))
