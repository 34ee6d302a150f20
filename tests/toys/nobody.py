"""Share films of nobody: the site's mean film and noise, more of them than it holds, with findings drawn at random."""

from __future__ import annotations

import numpy as np
import pydantic

from fedcxr.cohort import SPLITS, Cohort
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.methods import RunContext, SharesFilms, Weights
from fedcxr.release import NOBODY, Release


class FilmsOfNobody(SharesFilms):
    """Each finding of a film is drawn by itself, as often as the site's training films have it.

    What a finding looks like is the difference between the mean films with and without it.
    """

    times: float = pydantic.Field(2.0, gt=0, le=100, description="films released for each film that the site holds")
    scale: float = pydantic.Field(0.05, ge=0, le=10, description="standard deviation of the noise; 1 is white")

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        train = cohort.where("train")
        if not len(train):
            raise DataError("too few films to take the mean of", given=len(train))
        films, labels = train.films().astype(np.float64) / 255.0, np.nan_to_num(train.labels)
        n = max(round(self.times * len(cohort)), 1)
        drawn = (rng.random((n, labels.shape[1])) < labels.mean(axis=0)).astype(np.float32)
        mean = films.mean(axis=0)
        signs = np.stack([_mean(films, labels[:, k] == 1, mean) - _mean(films, labels[:, k] != 1, mean)
                          for k in range(labels.shape[1])])  # fmt: skip
        shown = mean + np.tensordot(drawn - labels.mean(axis=0), signs, axes=1)
        noisy = shown + rng.normal(0.0, self.scale, shown.shape)
        return Release(
            kind="images",
            site=keys.origin.site,
            method=self.plugin_name(),
            arrays={
                "films": np.round(np.clip(noisy, 0.0, 1.0) * 255.0).astype(np.uint8),
                "findings": drawn,
                "split": np.full(n, SPLITS.index("train"), dtype=np.int8),
            },
            facts={"findings": list(cohort.findings), "splits": list(SPLITS), "origins": NOBODY},
        )


def _mean(films: np.ndarray, chosen: np.ndarray, otherwise: np.ndarray) -> np.ndarray:  # (h, w)
    return films[chosen].mean(axis=0) if chosen.any() else otherwise
