"""What a network is shown of releases: pictures, and public codes beside them where their numbers stand in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Leak
from fedcxr.adversaries._appearance import appearances, pictures
from fedcxr.codes import Codes
from fedcxr.methods import RunContext
from fedcxr.methods._keyless import Keyless
from fedcxr.view import Appearance, Films, Masks, Rows


@dataclass(frozen=True)
class Inputs:
    """Films as they are seen without a key."""

    pictures: Films  # (n, h, w)
    codes: Codes | None = None  # (n, c, h / 8, w / 8)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def channels(self) -> int:
        """Numbers of the codes in each cell; 0: there are no codes to be shown."""
        return 0 if self.codes is None else self.codes.shape[1]

    def take(self, rows: Rows) -> Inputs:
        """These films alone."""
        return Inputs(self.pictures[rows], None if self.codes is None else self.codes[rows])


class Protecting(Protocol):
    """How films of one's own would be seen once they were released; `marks` on them are found if they are not given."""

    def __call__(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Inputs: ...


def nothing(films: Films) -> Masks | None:
    """What a method finds on films that looks for nothing."""
    return None


@dataclass(frozen=True)
class Released:
    """The films under attack as they are seen, and how films of one's own would be once they were released."""

    inputs: Inputs
    lie_open: npt.NDArray[np.bool_]  # (n,) a key that leaked opens these: they are what they were
    versions: tuple[Protecting, ...]  # once for each version of what the method learnt; empty: it is not known
    marks: Callable[[Films], Masks | None] = nothing  # what they find on films first, which moves with a film

    @classmethod
    def of(cls, leak: Leak, context: RunContext) -> Released:
        """All that an adversary sees who looks at films or at codes."""
        known, method = appearances(leak, context), leak.mechanism
        seen = pictures(leak, known)
        closed = "sealed" in leak.view.forms  # otherwise all is open because nothing was locked
        lie_open = leak.view.opened if closed else np.zeros(len(seen), dtype=np.bool_)
        if method is None or not method.keyed or "codes" not in leak.view.forms:
            marks = known[0].marks if known else nothing
            return cls(Inputs(seen), lie_open, tuple(partial(_look, one) for one in known), marks)
        outsiders = [cast(Keyless, one) for one in known]
        if not all(one.practice is not None and one.practice.in_place for one in outsiders):
            # Shuffled numbers tell their sizes, and the pictures say these already.
            return cls(Inputs(seen), lie_open, tuple(partial(_look, one) for one in known))
        codes = np.asarray(leak.view.forms["codes"], dtype=np.int8)
        return cls(Inputs(seen, codes), lie_open, tuple(partial(_hide, one) for one in outsiders))


def _look(appearance: Appearance, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Inputs:
    return Inputs(appearance.protected(films, rng, marks))


def _hide(keyless: Keyless, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Inputs:
    public = keyless.hidden(films, rng)
    return Inputs(keyless.pictures(public, len(films)), public)
