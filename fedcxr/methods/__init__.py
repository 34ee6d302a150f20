"""Ways of sharing: one file per method. What a method returns is all that leaves a hospital."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import SPLITS, Cohort
from fedcxr.errors import DataError
from fedcxr.plugins import Plugin
from fedcxr.release import Kind, Release

Weights = dict[str, npt.NDArray[np.generic]]  # what a method learnt, ready for safetensors


class Guarantee(pydantic.BaseModel):
    """A formal privacy guarantee, always with the unit it protects."""

    model_config = pydantic.ConfigDict(frozen=True)

    epsilon: float
    delta: float
    unit: Literal["record", "patient", "pixel_neighbourhood"]
    accountant: str


class Method(Plugin):
    """Decides what leaves a hospital; its fields are the keys under `method:` in a scenario."""

    kind: ClassVar[Kind]

    def guarantee(self) -> Guarantee | None:
        """The formal guarantee of one release, or None: most methods have none and say so."""
        return None

    def fit(self, cohort: Cohort, rng: np.random.Generator) -> Weights:
        """Learn what `release` needs from the hospital's own training films; nothing by default."""
        return {}

    @abstractmethod
    def release(self, cohort: Cohort, site: str, weights: Weights, rng: np.random.Generator) -> Release:
        """What the hospital `site` shares of these films, in their order."""


class ImageMethod(Method):
    """A method that shares protected films of the same size, with their findings.

    A new one needs `protect` alone; films arrive and leave as (n, h, w) uint8.
    """

    kind: ClassVar[Kind] = "images"

    @abstractmethod
    def protect(self, films: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Protect some films. Called for one chunk after another with the same generator."""

    def release(self, cohort: Cohort, site: str, weights: Weights, rng: np.random.Generator) -> Release:
        protected = np.empty((len(cohort), *cohort.size), dtype=np.uint8)
        start = 0
        for films in cohort.chunks():
            films.flags.writeable = False  # a method must not change the hospital's own films
            shared = np.asarray(self.protect(films, rng))
            if shared.shape != films.shape or shared.dtype != np.uint8:
                raise DataError(
                    f"{self.plugin_name()} returned films of another shape or type",
                    given=f"{shared.shape} {shared.dtype}",
                    allowed=f"{films.shape} uint8",
                )
            protected[start : start + len(films)] = shared
            start += len(films)
        split = cohort.index["split"].map(SPLITS.index).to_numpy(dtype=np.int8)
        return Release(
            kind="images",
            site=site,
            method=self.plugin_name(),
            arrays={"films": protected, "findings": cohort.labels, "split": split},
            facts={"findings": list(cohort.findings), "splits": list(SPLITS)},
        )


def to_eight_bits(films: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Films in [0, 1] as they would be stored: clipped and rounded to 256 grey levels. NaN is refused."""
    if not np.isfinite(films).all():
        raise DataError("a protected film holds a value that is not finite")
    grey: npt.NDArray[np.uint8] = np.round(np.clip(films, 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey
