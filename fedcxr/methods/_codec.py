"""The sparse coder at work on films: training it, and turning films into codes and codes into films."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcxr.codes import Codes
from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.methods import Films, RunContext, Weights
from fedcxr.models.sparse_coder import SparseCoder, sparse_coder
from fedcxr.training import Plan, arrays_of, fit, loaded, to_device, to_tensor
from fedcxr.training.compute import Compute

Number = TypeVar("Number", bound=np.generic)

BATCH = 16  # films at a time
HELD_OUT = 5  # every fifth patient decides whether training has helped
NOTHING = 1e-6  # squared grey range: a film that comes back exactly is no better than one that nearly does


@dataclass(frozen=True)
class CoderDesign:
    """Which coder, and how long it learns."""

    s: int
    maps: int = 1
    together: int = 1
    refinement: int = 0
    rounds: int = 0
    steps: int = 0
    learning_rate: float = 2e-3
    crop: int = 64


class Codec:
    """A coder that is ready: untrained, or with what was learnt."""

    def __init__(self, design: CoderDesign, weights: Weights, compute: Compute) -> None:
        network = SparseCoder(design.maps, design.refinement if weights else 0, design.rounds if weights else 0)
        if weights:
            loaded(network, weights)
        self.design = design
        self.compute = compute
        self.network = to_device(network, compute).eval()

    def encode(self, films: Films) -> Codes:
        """(n, h, w) uint8 -> (n, c, h / 8, w / 8) int8 with s numbers per cell and map, or on average over cells."""
        s, together = self.design.s, self.design.together
        with self.compute.session(), torch.inference_mode():
            codes = [self.network.encode(to_tensor(part, self.compute), s, together) for part in _parts(films)]
        return torch.cat(codes).cpu().numpy()

    def decode(self, codes: Codes, size: tuple[int, int]) -> Films:
        """What the codes show, in 8 bits."""
        return self.picture(codes, size, stored=True)

    def expand(self, codes: Codes) -> npt.NDArray[np.float32]:
        """What the steps in a code stand for."""
        with torch.inference_mode():
            expanded: npt.NDArray[np.float32] = self._tensor(codes, stored=True).cpu().numpy()
        return expanded

    def picture(self, codes: npt.NDArray[np.generic], size: tuple[int, int], stored: bool = False) -> Films:
        """Films from codes, either as stored in int8 or as the numbers they stand for."""
        films: list[npt.NDArray[np.uint8]] = []
        with self.compute.session(), torch.inference_mode():
            for part in _parts(codes):
                shown = self.network.decode(self._tensor(part, stored), size).clamp_(0, 1).mul_(255).round_()
                films.append(shown[:, 0].to(torch.uint8).cpu().numpy())
        return np.concatenate(films)

    def _tensor(self, codes: npt.NDArray[np.generic], stored: bool) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(codes)).to(self.compute.device)
        return self.network.expand(tensor) if stored else tensor.float()


def initial(design: CoderDesign, rng: np.random.Generator) -> Weights:
    return arrays_of(sparse_coder(design.maps, design.refinement, design.rounds, rng))


def learn(
    design: CoderDesign, cohort: Cohort, rng: np.random.Generator, context: RunContext, start: Weights | None
) -> Weights:
    """Filters and refinement that code films of unseen patients better, or else those it started with."""
    train, test = _divided(cohort)
    compute = context.compute
    network = to_device(sparse_coder(design.maps, design.refinement, design.rounds, rng), compute)
    if start:
        loaded(network, start)
    before, error = arrays_of(network), _error(network, test, design, compute)

    def loss(step: int) -> Tensor:
        films = to_tensor(_crops(train, design.crop, rng), compute)
        return _log_error(network(films, design.s, design.together), films)

    plan = Plan(design.steps, design.learning_rate, weight_decay=0.0, average=0.99)
    with compute.session():
        fit(network, loss, plan, compute, lambda done, total: context.progress("codec", done, total))
        worse = _error(network, test, design, compute) > error
    return before if worse else arrays_of(network)


def _divided(cohort: Cohort) -> tuple[Films, Films]:
    """Films to learn from and films of other patients to decide by."""
    patients = np.unique(cohort.patients)
    if len(patients) < 2:
        raise DataError(
            "too few patients to train a codec: one to learn from and one to judge by",
            given=str(len(patients)),
            do="set fit to none, public or federated",
        )
    judged = np.isin(cohort.patients, patients[::HELD_OUT])
    return cohort.take(~judged).films(), cohort.take(judged).films()


def _crops(films: Films, size: int, rng: np.random.Generator) -> Films:
    rows = rng.integers(len(films), size=BATCH)
    height, width = (min(size, n) for n in films.shape[1:])
    down = rng.integers(films.shape[1] - height + 1, size=BATCH)
    right = rng.integers(films.shape[2] - width + 1, size=BATCH)
    crops = np.stack(
        [films[n, i : i + height, j : j + width] for n, i, j in zip(rows, down, right, strict=True)],
    )
    return crops[:, :, ::-1] if rng.random() < 0.5 else crops


def _log_error(shown: Tensor, films: Tensor) -> Tensor:
    """What PSNR measures, so that an easy film counts as much as a hard one."""
    return ((shown - films) ** 2).mean((1, 2, 3)).add(NOTHING).log().mean()


def _error(network: SparseCoder, films: Films, design: CoderDesign, compute: Compute) -> float:
    network.eval()
    with torch.inference_mode():
        errors = [
            _log_error(network(batch, design.s, design.together).clamp(0, 1), batch).item() * len(batch)
            for batch in (to_tensor(part, compute) for part in _parts(films))
        ]
    return sum(errors) / len(films)


def _parts(films: npt.NDArray[Number]) -> Iterator[npt.NDArray[Number]]:
    for start in range(0, len(films), BATCH):
        yield films[start : start + BATCH]
