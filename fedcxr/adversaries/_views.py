"""How one's own films look: as they are, and as they would be released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedcxr.methods import Films, Protect
from fedcxr.pairs.sampler import Rows
from fedcxr.training import shifted

Shown = Callable[[Rows, np.random.Generator], Films]


@dataclass(frozen=True)
class Views:
    """One's own films as they are and as they would be released, moved a little each time they are looked at.

    `released` runs a mechanism, or looks up what somebody else's mechanism made of these very films.
    """

    clean: Films  # (n, h, w)
    released: Shown
    shift: int = 1  # pixels
    inner: bool = False  # whether releases are compared with each other, and not with clean films

    def known(self, rows: Rows, rng: np.random.Generator) -> Films:
        """The other film of a pair."""
        return self.released(rows, rng) if self.inner else shifted(self.clean[rows], self.shift, rng)

    @classmethod
    def unprotected(cls, films: Films, shift: int) -> Views:
        return cls.protected(films, _untouched, shift)

    @classmethod
    def protected(cls, films: Films, protect: Protect, shift: int, *, inner: bool = False) -> Views:
        """Protected anew every time they are looked at."""

        def released(rows: Rows, rng: np.random.Generator) -> Films:
            # Moved first and protected second, as a release would be: a grid of cells stays where it was.
            return protect(shifted(films[rows], shift, rng), rng)

        return cls(films, released, shift, inner)


def any_of(versions: Sequence[Protect]) -> Protect:
    """Hospitals that learnt by themselves protect in as many versions, of which each call meets one."""

    def protect(films: Films, rng: np.random.Generator) -> Films:
        return versions[int(rng.integers(len(versions))) if len(versions) > 1 else 0](films, rng)

    return protect if versions else _untouched


def _untouched(films: Films, rng: np.random.Generator) -> Films:
    return films
