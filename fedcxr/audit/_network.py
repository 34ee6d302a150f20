"""The verifier of an audit: how it looks at films, and how it learns from pairs of two folders."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.adversaries._shipped import Verifier, prepared
from fedcxr.audit.pairing import Films
from fedcxr.knowledge.own_films import Owned
from fedcxr.models.siamese import Siamese, partner_loss
from fedcxr.training import to_tensor
from fedcxr.training.augmentation import Augmentation
from fedcxr.training.compute import Compute

Rows = npt.NDArray[np.intp]
Likeness = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lessons:
    """What a batch is made of."""

    augmentation: Augmentation = field(default_factory=Augmentation)
    people: int = 24  # in a batch, with two films each
    lone: float = 0.3  # chance that somebody with a single film takes part
    own: float = 0.3  # share of pairs that are a released film and its own original
    sharpness: float = 8.0  # factor on logits inside the softmax

    def loss(
        self,
        network: Siamese,
        films: tuple[Films, Films],  # released and original, row by row
        sampler: OwnPairSampler,
        rng: np.random.Generator,
        compute: Compute,
    ) -> Tensor:
        """Of a batch of people, one film of each as released and one as it was."""
        released, original = films
        first, second = sampler.draw(self.people, 0.0, rng, self.lone)
        second = np.where(rng.random(len(first)) < self.own, first, second)
        batch = to_tensor(np.concatenate([released[first], original[second]]), compute)
        embedded = network.embed(prepared(self.augmentation(batch, rng)))
        logits = network.compare(embedded[: len(first)], embedded[len(first) :])
        return partner_loss(logits, self.sharpness)


def sampler_of(patients: npt.NDArray[np.int64], rows: Rows) -> OwnPairSampler:
    """Pairs among these rows, by person."""
    held_out = np.ones(len(patients), dtype=bool)
    held_out[rows] = False
    nothing = np.zeros((len(patients), 0, 0), dtype=np.uint8)
    return OwnPairSampler.owned(Owned(nothing, patients, np.zeros(len(patients), dtype=np.int64), held_out))


def compared(network: Siamese, some: Films, others: Films, compute: Compute) -> Likeness:
    """The network's logits of all pairs, each film seen several times."""
    network.eval()
    return Verifier(network, some.shape[-1], {}, compute).scores(some, others)
