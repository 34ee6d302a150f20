"""Films that were released several times: whatever was drawn at random averages out in the mean of all releases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fedcxr.adversaries import Leak
from fedcxr.adversaries._views import Look
from fedcxr.methods import Films, Masks


@dataclass(frozen=True)
class Repeated:
    """A mechanism that protects every film so often, and shows the mean."""

    look: Look
    times: int

    def marks(self, films: Films) -> Masks | None:
        return self.look.marks(films)

    def protected(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films:
        return mean_of(self.look.protected(films, rng, marks) for _ in range(self.times))


def repeated(looks: Sequence[Look], released: Films, again: Sequence[Films]) -> tuple[Sequence[Look], Films]:
    """Versions of a mechanism and what it released, once it has released the same films again."""
    if not any(len(films) and not np.array_equal(films, released) for films in again):
        return looks, released  # nothing was drawn at random, and all releases are one
    return [Repeated(look, 1 + len(again)) for look in looks], mean_of([released, *again])


def released_again(leak: Leak) -> Sequence[Films]:
    """The films under attack in all releases but the first; none where codes are released, which show no films."""
    held = leak.holdings.get("releases")
    return () if held is None else list(np.asarray(held.arrays.get("films", ()), dtype=np.uint8))


def mean_of(releases: Iterable[Films]) -> Films:
    """Films as the mean of what they look like in each release."""
    mean: Films = np.round(np.mean(list(releases), axis=0, dtype=np.float32)).astype(np.uint8)
    return mean
