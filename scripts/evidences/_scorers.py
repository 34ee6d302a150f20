"""Who is asked whether two films are of one patient: two correlations, and a verifier trained in two steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.knowledge.own_films import Owned
from fedcxr.models.backbone import Design
from fedcxr.models.contrast import local_contrast
from fedcxr.models.siamese import Siamese, partner_loss, siamese
from fedcxr.rng import stream
from fedcxr.training import Plan, fit, to_device, to_tensor
from fedcxr.training.augmentation import Augmentation
from fedcxr.training.compute import Compute

Films = npt.NDArray[np.uint8]  # (n, h, w)
Matrix = npt.NDArray[np.float32]  # (n, n) a score for every pair; higher means more likely the same patient
Say = Callable[[str], None]

# Where a film is looked at: as it is, closer, and moved by a few percent of its side. Embeddings are averaged.
VIEWS = ((1.0, 0.0, 0.0), (0.94, 0.0, 0.0), (1.0, 0.04, 0.0), (1.0, -0.04, 0.0), (1.0, 0.0, 0.04), (1.0, 0.0, -0.04))


def correlation(films: Films) -> Matrix:
    """Pearson's, of all pixels."""
    return np.asarray(np.corrcoef(films.reshape(len(films), -1)), np.float32)


def aligned_correlation(films: Films, compute: Compute, reach: float = 0.12) -> Matrix:
    """The best correlation of local contrast over small shifts, turns and zooms of the second film.

    `reach` is the largest shift as a share of the side. A window fades the borders out, where a shift has no partner.
    """
    size = films.shape[-1]
    hann = torch.hann_window(size, periodic=False).sqrt()
    window = hann[:, None] * hann[None]
    whole = to_tensor(films, compute)
    first = torch.fft.rfft2(_unit(local_contrast(whole)[:, 0] * window))
    places = torch.tensor([p for p in range(size) if min(p, size - p) <= reach * size])
    best = torch.full((len(films),) * 2, -1.0)
    for zoom, degrees in itertools.product((-0.08, 0.0, 0.08), (-5.0, 0.0, 5.0)):
        cos, sin = (math.exp(zoom) * f(math.radians(degrees)) for f in (math.cos, math.sin))
        moved = _seen(whole, ((cos, -sin, 0.0), (sin, cos, 0.0)))
        second = torch.fft.rfft2(_unit(local_contrast(moved)[:, 0] * window)).conj()
        for row, film in enumerate(first):  # one at a time, to avoid holding n x n films
            surface = torch.fft.irfft2(film * second, s=(size, size))
            best[row] = torch.maximum(best[row], surface[:, places][:, :, places].amax((1, 2)))
    return torch.maximum(best, best.T).numpy()


def _unit(films: Tensor) -> Tensor:  # (n, h, w) of mean 0 and norm 1
    centred = films - films.mean((1, 2), keepdim=True)
    return centred / centred.square().sum((1, 2), keepdim=True).sqrt()


def _seen(films: Tensor, matrix: Sequence[Sequence[float]]) -> Tensor:
    grid = F.affine_grid(torch.tensor(matrix).expand(len(films), 2, 3), list(films.shape), align_corners=False)
    return F.grid_sample(films, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Corpus:
    """Films to learn from, and how many people of them stand in a batch."""

    films: Films
    patients: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]
    people: int

    def album(self) -> OwnPairSampler:
        return OwnPairSampler.owned(
            Owned(self.films, self.patients, self.sources, np.zeros(len(self.films), dtype=np.bool_))
        )


@dataclass(frozen=True)
class Recipe:
    """How a verifier is trained; docs/results.md says on which films this was chosen."""

    design: Design = field(default_factory=lambda: Design(width=24, stride=4))
    dimensions: int = 128
    augmentation: Augmentation = field(default_factory=Augmentation)
    sharpness: float = 8.0
    same_source: float = 0.5
    lone: float = 0.3
    first: Plan = field(default_factory=lambda: Plan(600, 8e-3))
    second: Plan = field(default_factory=lambda: Plan(600, 4e-3))

    def pretrained(self, corpus: Corpus, seed: int, compute: Compute) -> Siamese:
        """A verifier that has seen phantoms only."""
        rng = stream(seed, "real films", "weights")
        network = to_device(siamese(self.design, self.dimensions, rng), compute)
        self._train(network, [corpus], self.first, stream(seed, "real films", "phantoms"), compute)
        return network

    def tuned(self, start: Siamese, corpora: Sequence[Corpus], rng: np.random.Generator, compute: Compute) -> Siamese:
        """A copy of `start`, gone on with other films."""
        network = to_device(siamese(self.design, self.dimensions, rng), compute)
        network.load_state_dict(start.state_dict())
        self._train(network, corpora, self.second, rng, compute)
        return network

    def _train(
        self, network: Siamese, corpora: Sequence[Corpus], plan: Plan, rng: np.random.Generator, compute: Compute
    ) -> None:
        albums = [(corpus, corpus.album()) for corpus in corpora]

        def loss(step: int) -> Tensor:
            drawn = [(corpus, album.draw(corpus.people, self.same_source, rng, self.lone)) for corpus, album in albums]
            films = np.concatenate([corpus.films[rows] for corpus, pair in drawn for rows in pair])
            embedded = network.embed(_prepared(self.augmentation(to_tensor(films, compute), rng)))
            parts = embedded.split([len(rows) for _, pair in drawn for rows in pair])
            # Each corpus by itself: telling an adult from a child is no verification.
            losses = [
                partner_loss(network.compare(a, b), self.sharpness)
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            return torch.stack(losses).mean()

        fit(network, loss, plan, compute)


def _prepared(films: Tensor) -> Tensor:
    return local_contrast(films).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def compared(network: Siamese, films: Films, compute: Compute) -> Matrix:
    """The network's logits of all pairs, each film seen several times."""
    network.eval()
    whole, embedded = to_tensor(films, compute), []
    for zoom, right, down in VIEWS:
        view = _seen(whole, ((zoom, 0.0, right), (0.0, zoom, down)))
        with compute.autocast():
            embedded.append(torch.cat([network.embed(_prepared(part)) for part in view.split(128)]).float())
    mean = torch.stack(embedded).mean(0)
    return network.compare(mean, mean).numpy()
