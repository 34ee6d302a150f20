"""What the holder of given keys sees of all that the sites of a run shared: films, their codes, or a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fedcxr.errors import NotGranted
from fedcxr.keys import ReleaseKey, SomeKeys
from fedcxr.release import Release

Array = npt.NDArray[np.generic]
Films = npt.NDArray[np.uint8]  # (n, h, w)
Masks = npt.NDArray[np.bool_]  # (n, h, w)
Rows = npt.NDArray[np.intp]
Weights = dict[str, Array]  # what a method learnt, ready for safetensors


def _none() -> Iterator[tuple[int, Release]]:
    return iter(())


@dataclass(frozen=True)
class Shared:
    """All that crossed the border in one run: the sites' releases, and what was learnt away from the sites."""

    releases: Sequence[Release]
    learnt: Release | None = None
    updates: Callable[[], Iterator[tuple[int, Release]]] = _none  # by round, what each site sent, where it is kept
    rounds: Callable[[], Iterator[tuple[int, Release]]] = _none  # of a federation, what each made; 0: its beginning

    def __len__(self) -> int:
        """How many rows were released."""
        return sum(map(len, self.releases))

    @property
    def ends(self) -> Rows:
        """Where, in arrays of all released rows, one release ends and the next begins."""
        return np.cumsum([len(release) for release in self.releases], dtype=np.intp)[:-1]

    def weights_behind(self, release: Release) -> Weights:
        """What the method learnt that made this release."""
        return release.weights if self.learnt is None else self.learnt.weights

    @property
    def taught(self) -> tuple[Weights, ...]:
        """What the method learnt, once for each place where it did; empty where it learnt nothing."""
        sources = self.releases if self.learnt is None else [self.learnt]
        return tuple(source.weights for source in sources if source.weights)

    @property
    def versions(self) -> npt.NDArray[np.int64]:  # (n,)
        """Which of `taught` made a row: a site that learnt by itself has a version of its own."""
        own = np.cumsum([bool(release.weights) for release in self.releases]) - 1
        return np.repeat(np.maximum(own, 0), [len(release) for release in self.releases]).astype(np.int64)

    @property
    def released_by(self) -> npt.NDArray[np.object_]:  # (n,)
        """Which site released a row."""
        sites = [release.site for release in self.releases]
        return np.repeat(np.array(sites, dtype=object), [len(release) for release in self.releases])

    def array(self, name: str) -> Array | None:
        """One array of every release, row after row; None: no release has it."""
        parts = [release.arrays[name] for release in self.releases if name in release.arrays]
        return np.concatenate(parts) if parts else None


@dataclass(frozen=True)
class Told:
    """What a release tells of its films beside them, to one holder of keys."""

    findings: npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN: not known, or not told
    split: npt.NDArray[np.int8]  # (n,) index into cohort.SPLITS; UNTOLD

    UNTOLD: ClassVar[int] = -1

    @classmethod
    def nothing(cls, films: int, findings: int) -> Told:
        """Nothing of so many films."""
        unknown = np.full((films, findings), np.nan, dtype=np.float32)
        return cls(unknown, np.full(films, cls.UNTOLD, dtype=np.int8))


class Holder(Protocol):
    """Somebody who may hold keys."""

    def keys(self, release: Release) -> ReleaseKey | SomeKeys:
        """Those to (some of) this release; a clear refusal where there are none."""
        ...


class Nobody:
    """Holds no key at all."""

    def keys(self, release: Release) -> ReleaseKey | SomeKeys:
        raise NotGranted(f"nobody holds keys to the release of {release.site}")


@dataclass(frozen=True)
class Thief:
    """Holds keys of some sites, however they leaked."""

    stolen: Mapping[str, ReleaseKey | SomeKeys]  # by site

    def keys(self, release: Release) -> ReleaseKey | SomeKeys:
        if release.site not in self.stolen:
            raise NotGranted(f"the keys of {release.site} did not leak")
        return self.stolen[release.site]


@dataclass(frozen=True)
class View:
    """What one holder of keys sees, row by row in as many forms as there are to see it in, or as a model."""

    # By form, (n, ...): `films`, `purified` codes, `codes` and `sealed` as published; and where a method complained of
    # films, of which: `complaints`.
    forms: Mapping[str, Array]
    opened: npt.NDArray[np.bool_]  # (n,) which rows the keys open; films and purified codes of others are blank
    versions: npt.NDArray[np.int64]  # (n,) which of what the method learnt made each row
    model: Weights | None = None  # what was learnt, where that is what is shared
    refusals: Mapping[str, str] = field(default_factory=dict)  # by site: why nothing, or not everything, is open

    def __len__(self) -> int:
        return len(self.opened)

    def take(self, rows: npt.ArrayLike) -> View:
        """These rows alone."""
        chosen = np.asarray(rows)
        forms = {form: array[chosen] for form, array in self.forms.items()}
        return replace(self, forms=forms, opened=self.opened[chosen], versions=self.versions[chosen])


class Appearance(Protocol):
    """How what a method shares looks to somebody without any key, who owns films to practise on."""

    def released(self, rows: View) -> Films:
        """What was released, as pictures."""
        ...

    def marks(self, films: Films) -> Masks | None:
        """What protecting these films has to find on them first, and what moves with a film; None: nothing."""
        ...

    def protected(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films:
        """Films of one's own as they would look once they were released; `marks` is found if it is not given."""
        ...
