"""An album: the films an adversary owns, by person, and the pairs it practises on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError
from fedcxr.knowledge.own_films import Owned
from fedcxr.pairs.sampler import PairSampler, Rows, sorted_by


@dataclass(frozen=True)
class OwnPairSampler(PairSampler):
    """The films of people the adversary may train on, those of one person side by side."""

    source: npt.NDArray[np.int64]  # (p,) the hospital of a person's first film

    @classmethod
    def owned(cls, own: Owned) -> OwnPairSampler:
        """All films but those of held-out people."""
        films = np.flatnonzero(~own.held_out)
        places, start, count = sorted_by(own.people[films])
        rows = films[places]
        if (count > 1).sum() < 2:
            raise DataError(
                "a verifier learns from people with two films or more, and needs two such people",
                given=f"{int((count > 1).sum())} of {len(count)} people in the adversary's own films",
                do="give it a larger auxiliary cohort",
            )
        return cls(rows, start, count, own.sources[rows[start]])

    def draw(self, people: int, same_source: float, rng: np.random.Generator, lone: float = 0.0) -> tuple[Rows, Rows]:
        """Two different films of each of up to `people` people; a share of the batches from one hospital.

        Films of one hospital look alike, and an adversary who only ever compared across hospitals would
        recognise the scanner instead of the patient. `lone` is the chance that somebody with a single film takes
        part, with that film twice: in a small album most people are such, and augmentation makes two films of it.
        """
        among = self.count > 1
        if lone:
            among = among | (rng.random(len(self.count)) < lone)
        candidates = np.flatnonzero(among)
        if rng.random() < same_source:
            source = rng.choice(self.source[candidates])
            local = candidates[self.source[candidates] == source]
            candidates = local if len(local) > 1 else candidates
        return self.two_each(rng.permutation(candidates)[:people], rng)
