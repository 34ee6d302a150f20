"""The verifier of an audit: where it begins, how it looks at films, and how it learns from pairs of two folders."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.adversaries._shipped import Verifier, prepared
from fedcxr.audit.pairing import Films, Progress
from fedcxr.data import cache_folder
from fedcxr.data.phantom import Phantom
from fedcxr.knowledge.own_films import Owned
from fedcxr.models.backbone import Design
from fedcxr.models.siamese import Siamese, partner_loss, siamese
from fedcxr.rng import stream
from fedcxr.storage.artefacts import Artefacts
from fedcxr.storage.checkpoint import Arrays
from fedcxr.training import Plan, arrays_of, fit, to_device, to_tensor
from fedcxr.training.augmentation import Augmentation
from fedcxr.training.compute import Compute

Rows = npt.NDArray[np.intp]
Likeness = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lessons:
    """What a batch is made of."""

    design: Design = field(default_factory=lambda: Design(width=24, stride=4))
    dimensions: int = 128
    augmentation: Augmentation = field(default_factory=Augmentation)
    people: int = 24  # in a batch, with two films each
    lone: float = 0.3  # chance that somebody with a single film takes part
    own: float = 0.3  # share of pairs that are a released film and its own original
    sharpness: float = 8.0  # factor on logits inside the softmax

    def network(self, seed: int, compute: Compute) -> Siamese:
        """One that has seen nothing yet."""
        return to_device(siamese(self.design, self.dimensions, stream(seed, "audit", "weights")), compute)

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


@dataclass(frozen=True)
class Schooling:
    """How a network comes to know phantoms, before it sees a film of anybody's."""

    patients: int = 800
    plan: Plan = field(default_factory=lambda: Plan(600, 8e-3))


def sampler_of(patients: npt.NDArray[np.int64], rows: Rows) -> OwnPairSampler:
    """Pairs among these rows, by person."""
    held_out = np.ones(len(patients), dtype=bool)
    held_out[rows] = False
    nothing = np.zeros((len(patients), 0, 0), dtype=np.uint8)
    return OwnPairSampler.owned(Owned(nothing, patients, np.zeros(len(patients), dtype=np.int64), held_out))


def schooled(
    lessons: Lessons, schooling: Schooling, size: int, seed: int, compute: Compute, progress: Progress
) -> Arrays:
    """What a verifier has learnt that has seen phantoms only; made once, and kept with other artefacts."""
    store = Artefacts.below(cache_folder())
    made_of = {
        "lessons": repr((lessons, schooling)),
        "size": size,
        "seed": seed,
        "compute": list(compute.settings),
    }

    def make() -> Arrays:
        def rendered(done: int, total: int) -> None:
            progress("rendering phantoms (once)", done, total)

        cohort = Phantom(patients=schooling.patients, size=size).open(cache_folder(), progress=rendered)
        films = cohort.films()
        patients = np.unique(cohort.patients, return_inverse=True)[1].astype(np.int64)
        network = lessons.network(seed, compute)
        sampler = sampler_of(patients, np.arange(len(films)))
        rng = stream(seed, "audit", "phantoms")

        def loss(step: int) -> Tensor:
            return lessons.loss(network, (films, films), sampler, rng, compute)

        def told(done: int, total: int) -> None:
            progress("learning from phantoms (once)", done, total)

        with compute.session():
            fit(network, loss, schooling.plan, compute, told)
        return arrays_of(network)

    return store.made(Artefacts.key("audit", **made_of), make)


def compared(network: Siamese, some: Films, others: Films, compute: Compute) -> Likeness:
    """The network's logits of all pairs, each film seen several times."""
    network.eval()
    return Verifier(network, some.shape[-1], {}, compute).scores(some, others)
