"""Which numbers of a released film say what about a clean film of the same person, learnt from films of one's own.

Canonical correlations (Hotelling 1936), compared by the log-likelihood ratio of one person against two. This is the
two-covariance model of `_metric` for films that do not differ from their person in the same way, of which one is
protected and the other is not; where they do, both are one.
Our deviations: principal components first; every film counts the same, not every pair, or people with many films would
be all that is learnt; both covariances are drawn towards a multiple of the identity. How many components and how far
they are drawn is what serves people who were held out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import svd

Numbers = npt.NDArray[np.float32]  # (n, d)
Likeness = npt.NDArray[np.float32]  # (released films, clean films)
People = npt.NDArray[np.int64]  # (n,)
Rows = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

COMPONENTS = (20, 40, 80, 160, 320)  # tried
SHRINKAGE = (0.003, 0.03, 0.3)
CLOSEST = 0.995  # from a few films a correlation of 1 is easily had
LEAST = 1e-6  # variance of a component: what is fainter is rounding, which differs from process to process


@dataclass(frozen=True)
class Canonical:
    """Released and clean films, each in coordinates of their own that agree as far as people do."""

    centres: tuple[Doubles, Doubles]  # (d,) of released and of clean films
    axes: tuple[Doubles, Doubles]  # (d, k)
    correlation: Doubles  # (k,) between two films of one person

    def __call__(self, released: Numbers, clean: Numbers) -> Likeness:
        """The log-likelihood ratio of every pair, (n, m), up to what is the same for all."""
        sides = zip((released, clean), self.centres, self.axes, strict=True)
        a, b = ((numbers - centre) @ axes for numbers, centre, axes in sides)
        cross = self.correlation / (1 - self.correlation**2)
        alone = -0.5 * cross * self.correlation
        ratio = (a * cross) @ b.T + ((a * a) @ alone)[:, None] + ((b * b) @ alone)[None]
        return np.asarray(ratio, dtype=np.float32)


@dataclass(frozen=True)
class Setting:
    """How much of a description is looked at, and how far its covariances are drawn towards the identity's."""

    components: int
    shrinkage: float


@dataclass(frozen=True)
class Practice:
    """One's own films in principal components of the clean ones, the largest first."""

    people: People
    released: Doubles  # (v, n, k) protected v times
    clean: Doubles  # (n, k)
    centres: tuple[Doubles, Doubles]  # (d,) what was subtracted
    main: Doubles  # (d, k)

    @classmethod
    def of(cls, released: npt.NDArray[np.float32], clean: Numbers, people: People) -> Practice:
        """`released` is (v, n, d): each film protected v times."""
        centres = released.mean(axis=(0, 1), dtype=np.float64), clean.mean(axis=0, dtype=np.float64)
        apart = clean - centres[1]
        values, vectors = np.linalg.eigh(apart.T @ apart)
        main = vectors[:, np.argsort(-values)[: min(max(COMPONENTS), len(clean))]]
        return cls(people, (released - centres[0]) @ main, apart @ main, centres, main)

    def settings(self) -> Iterable[Setting]:
        """What can be tried with these films."""
        most = self.main.shape[1]
        counts = [count for count in COMPONENTS if count < most] + [most]
        return (Setting(components, shrinkage) for components in counts for shrinkage in SHRINKAGE)

    def seen(self, among: Rows) -> Moments:
        """What there is to know about these films."""
        first, second = self.released[:, among], self.clean[among]
        flat = first.reshape(-1, first.shape[-1])
        # Never against itself, which nobody would have to ask about: against the mean of its person's other films.
        _, owner, films = np.unique(self.people[among], return_inverse=True, return_counts=True)
        sums = np.zeros((len(films), second.shape[1]))
        np.add.at(sums, owner, second)
        paired = films[owner] > 1
        others = (sums[owner] - second)[paired] / (films[owner][paired] - 1)[:, None]
        across = first[:, paired].mean(axis=0).T @ others / max(len(others), 1)
        # Of nobody at all nothing is known, and two films are as alike as any others.
        return Moments(self, flat.T @ flat / max(len(flat), 1), second.T @ second / max(len(second), 1), across)


@dataclass(frozen=True)
class Moments:
    """Covariances of some of the films."""

    practice: Practice
    released: Doubles  # (k, k)
    clean: Doubles  # (k, k)
    across: Doubles  # (k, k) of a released film with other films of its person

    def learn(self, setting: Setting) -> Canonical:
        """The comparison that they teach."""
        some = slice(setting.components)
        roots = [_inverse_root(*spectrum, setting.shrinkage) for spectrum in self._spectrum(setting.components)]
        left, correlation, right = _svd(roots[0] @ self.across[some, some] @ roots[1])
        main = self.practice.main[:, some]
        axes = main @ roots[0] @ left, main @ roots[1] @ right.T
        return Canonical(self.practice.centres, axes, np.minimum(correlation, CLOSEST))

    def _spectrum(self, components: int) -> list[tuple[Doubles, Doubles]]:
        """Eigenvalues and eigenvectors of both sides: drawn towards the identity, no axis turns."""
        if components not in self._spectra:
            some = slice(components)
            both = (np.linalg.eigh(covariance[some, some]) for covariance in (self.released, self.clean))
            self._spectra[components] = [(values, vectors) for values, vectors in both]
        return self._spectra[components]

    @cached_property
    def _spectra(self) -> dict[int, list[tuple[Doubles, Doubles]]]:
        return {}


def told_apart(alike: Likeness, genuine: Bools) -> float:
    """The AUC in which every released film counts the same, of however many its person has; .5 if there is none."""
    strangers = np.sort(alike[~genuine & ~np.eye(len(alike), dtype=bool)])
    partners = genuine.sum(axis=1)
    if not len(strangers) or not partners.any():
        return 0.5
    above = np.where(genuine, np.searchsorted(strangers, alike) / len(strangers), 0).sum(axis=1)
    return float((above[partners > 0] / partners[partners > 0]).mean())


def _inverse_root(values: Doubles, vectors: Doubles, shrinkage: float) -> Doubles:
    """Of a covariance with these eigenvalues and eigenvectors, drawn towards a multiple of the identity."""
    drawn = (1 - shrinkage) * values + shrinkage * values.mean() + LEAST
    root: Doubles = vectors / np.sqrt(np.maximum(drawn, LEAST)) @ vectors.T
    return root


def _svd(matrix: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """LAPACK's fast way gives up on some matrices of low rank, on some processors; its older way on none."""
    try:
        left, values, right = np.linalg.svd(matrix)
    except np.linalg.LinAlgError:
        left, values, right = svd(matrix, lapack_driver="gesvd")
    return left, values, right
