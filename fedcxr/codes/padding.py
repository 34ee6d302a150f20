"""A film's numbers padded with fakes until each public value occurs as often as in every other film.

How often a value occurs is a table, fixed by a film's size alone: the k-th most frequent of 254 values has a share that
falls with (k + 1)^(-3/2). No film is in it: two constants are all that was chosen, so that what real and phantom films
keep fits and the table still packs well. A public value stands for nothing by itself. Which number of the film it
stands for, if any, is the film's own `meaning`, one for each public value, and that is sealed.

The most frequent number that is left takes the most frequent public value that is left, and one that needs more room
takes the next as well; fakes fill the rest. So all numbers are kept exactly as long as they fit. Where they do not,
which takes a film that is no film (noise, at few fakes), they are coded in steps twice as wide, or three times, ...
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError

Values = npt.NDArray[np.int8]  # (k,) in -127 .. 127 without zero
Counts = npt.NDArray[np.intp]

LARGEST = 127
PUBLIC = 2 * LARGEST  # different public values
MEANING_BYTES = PUBLIC
FIRST = 2  # the flattening of the table's beginning

# The public values, the most frequent first: 1, -1, 2, -2, ...
_LABELS = (np.arange(PUBLIC, dtype=np.int16) // 2 + 1) * (1 - 2 * (np.arange(PUBLIC, dtype=np.int16) % 2))
LABELS: Values = _LABELS.astype(np.int8)
# Which of them a byte is; zero and -128 are none.
_RANK = np.full(256, -1, dtype=np.intp)
_RANK[LABELS.view(np.uint8)] = np.arange(PUBLIC)


@cache
def table(n: int) -> Counts:  # (PUBLIC,)
    """How often each public value occurs among n of a film, the most frequent first."""
    rank = np.arange(FIRST, FIRST + PUBLIC, dtype=np.float64)
    share = np.cumsum(1 / (rank * np.sqrt(rank)))  # roots and quotients are rounded alike on every machine
    upto = np.rint(n * share / share[-1]).astype(np.intp)
    counts: Counts = np.sort(np.diff(upto, prepend=0))[::-1]
    counts.flags.writeable = False  # it is shared
    return counts


def fits(s: int, s_n: int) -> bool:
    """Whether so many fakes pad so many numbers of any film, if need be in steps so wide that two numbers remain."""
    return 2 * s_n >= s


def pad(numbers: Values, n: int) -> tuple[Values, Values]:
    """n public values of which the first stand for these numbers, in turn, and what each public value means."""
    room = table(n)
    coarse, value, rank, amount = _placed(numbers, room)
    by_value = np.argsort(value, kind="stable")
    true = np.empty_like(numbers)
    true[np.argsort(coarse, kind="stable")] = np.repeat(LABELS[rank[by_value]], amount[by_value])
    left = room.copy()
    left[rank] -= amount
    meaning = np.zeros(PUBLIC, dtype=np.int8)
    meaning[rank] = value
    return np.concatenate([true, np.repeat(LABELS, left)]), meaning


def is_padded(public: Values) -> bool:
    """Whether each value occurs as often as in every other film."""
    occurs = np.bincount(public.view(np.uint8), minlength=256)[LABELS.view(np.uint8)]
    return bool((occurs == table(len(public))).all())


def meant(public: Values, meaning: Values) -> Values:
    """The numbers that these public values of a padded film stand for."""
    numbers = meaning[_RANK[public.view(np.uint8)]]
    if not numbers.all():
        raise DataError("what is sealed of a film gives a public value no meaning that stands for a number")
    return numbers


def _placed(numbers: Values, room: Counts) -> tuple[Values, Values, Counts, Counts]:
    """The numbers in steps so fine that they fit, and of each public value in use: number, rank, and how many."""
    for coarse in _in_wider_steps(numbers):
        used = _fitted(coarse, room)
        if used:
            value, rank, amount = np.array(used, dtype=np.intp).T
            return coarse, value.astype(np.int8), rank, amount
    raise AssertionError("there are too few fakes to pad with; `fits` says so before")


def _in_wider_steps(numbers: Values) -> Iterator[Values]:
    yield numbers
    size, sign = np.abs(numbers.astype(np.int16)), np.sign(numbers)
    for wide in range(2, LARGEST + 1):
        middle = (size - 1) // wide * wide + (wide + 1) // 2
        yield (sign * np.minimum(middle, LARGEST)).astype(np.int8)


def _fitted(numbers: Values, room: Counts) -> list[tuple[int, int, int]]:
    """Number, rank and amount of each public value that is used; empty if not all find room."""
    occurs = np.bincount(numbers.view(np.uint8), minlength=256)
    there = np.flatnonzero(occurs)
    waiting = [(-amount, number) for amount, number in zip(occurs[there].tolist(), there.tolist(), strict=True)]
    heapq.heapify(waiting)
    used = []
    for rank, most in enumerate(room.tolist()):
        amount, number = -waiting[0][0], waiting[0][1]
        used.append((number - 256 if number > LARGEST else number, rank, min(amount, most)))
        if amount > most:
            heapq.heapreplace(waiting, (most - amount, number))
        elif len(waiting) > 1:
            heapq.heappop(waiting)
        else:
            return used
    return []
