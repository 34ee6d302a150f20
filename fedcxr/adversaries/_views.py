"""How one's own films look: as they are, and as they would be released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedcxr.methods import Films, Masks
from fedcxr.pairs.sampler import Rows
from fedcxr.training import moved, offsets, shifted

Shown = Callable[[Rows, np.random.Generator], Films]


class Look(Protocol):
    """What a mechanism does to one's own films, as of `fedcxr.view.Appearance`."""

    def marks(self, films: Films) -> Masks | None: ...

    def protected(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films: ...


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
        return cls.protected(films, AnyOf(()), shift)

    @classmethod
    def protected(cls, films: Films, look: Look, shift: int, *, inner: bool = False) -> Views:
        """Protected anew every time they are looked at."""
        marked = Marked(films, look.marks)

        def released(rows: Rows, rng: np.random.Generator) -> Films:
            # Moved first and protected second, as a release would be: a grid of cells stays where it was.
            by = offsets(len(rows), shift, rng)
            marks = marked(rows)
            # Found on the moved film, marks would be the same but for its edge, and for a pixel around them.
            return look.protected(moved(films[rows], by), rng, None if marks is None else moved(marks, by))

        return cls(films, released, shift, inner)


@dataclass(frozen=True)
class AnyOf:
    """Hospitals that learnt by themselves protect in as many versions, of which each call meets one; none: nothing."""

    versions: Sequence[Look]

    def marks(self, films: Films) -> Masks | None:
        """The same for all: a method looks for it whatever it learnt."""
        return self.versions[0].marks(films) if self.versions else None

    def protected(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films:
        if not self.versions:
            return films
        return self.versions[int(rng.integers(len(self.versions)))].protected(films, rng, marks)


class Marked:
    """What a mechanism finds on one's own films, for which it looks at each film once."""

    def __init__(self, films: Films, find: Callable[[Films], Masks | None]) -> None:
        self._films, self._find = films, find
        self._found = np.zeros(films.shape, dtype=np.bool_)
        self._known = np.zeros(len(films), dtype=np.bool_)

    def __call__(self, rows: Rows) -> Masks | None:
        """Of these films, those asked for the first time among them; None: there is nothing to be found."""
        new = np.unique(rows[~self._known[rows]])
        if len(new):
            found = self._find(self._films[new])
            if found is None:
                return None
            self._found[new], self._known[new] = found, True
        return self._found[rows]
