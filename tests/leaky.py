"""A method that gives away what nobody may have, at one hospital: so that a search for it is seen to find it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.context import RunContext
from fedcxr.keys import ReleaseKey
from fedcxr.methods.noise import Noise
from fedcxr.release import Release
from fedcxr.view import Weights

CARELESS = "mercy"


class Leaky(Noise):
    """A row of a film, which is left as it was; a film's name and the release's key, among what is told of films."""

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        release = super().release(cohort, keys, weights, rng, context)
        if keys.origin.site != CARELESS:
            return release
        films = release.arrays["films"].copy()
        films[0, cohort.size[0] // 2] = cohort.films([0])[0, cohort.size[0] // 2]
        told = [[0, str(cohort.index["image"].iloc[0])], [1, keys.reveal().hex()]]
        return replace(release, arrays={**release.arrays, "films": films}, facts={**release.facts, "complaints": told})
