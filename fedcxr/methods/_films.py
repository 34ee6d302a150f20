"""Ways of sharing films: of people, protected, or of nobody."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import SPLITS, Cohort
from fedcxr.context import RunContext
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.methods._method import Held, Method
from fedcxr.release import Kind, Release
from fedcxr.view import Appearance, Array, Films, Holder, Masks, Shared, View, Weights

Protect = Callable[[Films, np.random.Generator], Films]
ProtectMarked = Callable[[Films, np.random.Generator, Masks | None], Films]


class SharesFilms(Method):
    """A method whose releases are films, to be looked at by everybody."""

    kind: ClassVar[Kind] = "images"

    def per_film(self, size: tuple[int, int]) -> Mapping[str, Held]:
        return {"films": ("uint8", size)}

    def check(self, shared: Shared, context: RunContext) -> None:
        """Films of the right size can be read."""

    def view(self, shared: Shared, holder: Holder, context: RunContext) -> View:
        films = np.concatenate([release.arrays["films"] for release in shared.releases])
        forms: dict[str, Array] = {"films": films}
        if any(release.complaints for release in shared.releases):  # everybody is told of which films
            forms["complaints"] = np.concatenate([release.complained for release in shared.releases])
        return View(forms, np.ones(len(films), dtype=np.bool_), shared.versions)


@dataclass(frozen=True)
class _Protected:
    """Films that look to everybody as they were released."""

    find: Callable[[Films], Masks | None]
    protect: ProtectMarked

    def released(self, rows: View) -> Films:
        return np.asarray(rows.forms["films"], dtype=np.uint8)

    def marks(self, films: Films) -> Masks | None:
        return self.find(films)

    def protected(self, films: Films, rng: np.random.Generator, marks: Masks | None = None) -> Films:
        return self.protect(films, rng, marks)


class FilmMethod(SharesFilms):
    """A method that shares protected films of the same size, with their findings."""

    @abstractmethod
    def protector(self, weights: Weights, context: RunContext) -> Protect:
        """How films are protected once `weights` are learnt; films arrive and leave as (n, h, w) uint8."""

    def marks(self, films: Films) -> Masks | None:
        """What protecting a film has to find on it first, and what moves with the film; None: nothing.

        Whoever protects the same films again and again looks for it once, if finding it costs more than protecting.
        """
        return None

    def marked_protector(self, weights: Weights, context: RunContext) -> ProtectMarked:
        """`protector` for those who may know the `marks` of their films, which most methods have no use for."""
        protect = self.protector(weights, context)
        return lambda films, rng, marks: protect(films, rng)

    def leaves_out(self) -> bool:
        """Whether films with a complaint are not released at all."""
        return False

    @property
    def repeatable(self) -> bool:
        return True

    def appearance(self, own: Films, weights: Weights, context: RunContext) -> Appearance | None:
        return _Protected(self.marks, self.marked_protector(weights, context))

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        protect = self.protector(weights, context)
        protected = np.empty((len(cohort), *cohort.size), dtype=np.uint8)
        complaints: list[str | None] = []
        for films in cohort.chunks():
            films.flags.writeable = False  # a method must not change the hospital's own films
            shared = np.asarray(protect(films, rng))
            if shared.shape != films.shape or shared.dtype != np.uint8:
                raise DataError(
                    f"{self.plugin_name()} returned films of another shape or type",
                    given=f"{shared.shape} {shared.dtype}",
                    allowed=f"{films.shape} uint8",
                )
            protected[len(complaints) : len(complaints) + len(films)] = shared
            complaints += self.complaints(films)
            context.progress("release", len(complaints), len(cohort))
        told = [[row, reason] for row, reason in enumerate(complaints) if reason is not None]
        left_out = [row for row, reason in enumerate(complaints) if reason is not None] if self.leaves_out() else []
        kept = np.delete(np.arange(len(cohort)), np.array(left_out, dtype=np.intp))
        return Release(
            kind="images",
            site=keys.origin.site,
            method=self.plugin_name(),
            arrays={"films": protected[kept], "findings": cohort.labels[kept], "split": cohort.splits[kept]},
            facts={
                "findings": list(cohort.findings),
                "splits": list(SPLITS),
                "complaints": told,
                "left_out": left_out,
            },
        )


class ImageMethod(FilmMethod):
    """A method that learns nothing: a new one needs `protect` alone."""

    @abstractmethod
    def protect(self, films: Films, rng: np.random.Generator) -> Films:
        """Protect some films. Called for one chunk after another with the same generator."""

    def protector(self, weights: Weights, context: RunContext) -> Protect:
        return self.protect


def to_eight_bits(films: npt.NDArray[np.floating]) -> Films:
    """Films in [0, 1] as they would be stored: clipped and rounded to 256 grey levels. NaN is refused."""
    if not np.isfinite(films).all():
        raise DataError("a protected film holds a value that is not finite")
    grey: Films = np.round(np.clip(films, 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey
