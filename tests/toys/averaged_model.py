"""Share a model: a logistic regression on shrunken films, learnt in three rounds and averaged by Flower's FedAvg."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.learning import Learning
from fedcxr.methods import ModelMethod, Round, RunContext, Weights

SIDE = 8  # cells of a shrunken film


class AveragedModel(ModelMethod):
    """One weight per cell of a film and finding."""

    rounds: int = pydantic.Field(3, ge=1, le=1000)
    strategy: str = pydantic.Field("fedavg", description="one of Flower's, by name")
    steps: int = pydantic.Field(30, ge=1, le=10_000, description="of each round")
    batch: int = pydantic.Field(16, ge=1, le=1024)
    learning_rate: float = pydantic.Field(0.5, gt=0, le=10)

    @property
    def learning(self) -> Learning:
        return Learning("federated", self.rounds, self.strategy)

    def initial(self, rng: np.random.Generator) -> Weights:
        k = len(self.findings)
        return {"slopes": np.zeros((SIDE * SIDE, k), np.float32), "offsets": np.zeros(k, np.float32)}

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008
    ) -> Weights:
        begun = self.initial(rng) if start is None else start
        model = {name: array.astype(np.float64) for name, array in begun.items()}
        cells, labels = shrunken(cohort.films()), self.labels(cohort)
        for _ in range(self.steps):
            rows = rng.integers(len(cells), size=self.batch)
            x, y = cells[rows], labels[rows]
            error = np.nan_to_num(1 / (1 + np.exp(-x @ model["slopes"] - model["offsets"])) - y)  # unknown: no error
            model["slopes"] -= self.learning_rate * x.T @ error / self.batch
            model["offsets"] -= self.learning_rate * error.mean(axis=0)
        return {name: array.astype(np.float32) for name, array in model.items()}

    def predict(
        self, films: npt.NDArray[np.uint8], weights: Weights, context: RunContext
    ) -> npt.NDArray[np.float32]:  # (n, k)
        slopes, offsets = (weights[name].astype(np.float64) for name in ("slopes", "offsets"))
        return (shrunken(films) @ slopes + offsets).astype(np.float32)


def shrunken(films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:  # (n, 64), around 0
    """The mean of each cell, as far from the middle grey as it lies."""
    rows, columns = (np.arange(SIDE) * side // SIDE for side in films.shape[1:])
    sums = np.add.reduceat(np.add.reduceat(films.astype(np.float64), rows, axis=1), columns, axis=2)
    counts = np.add.reduceat(np.add.reduceat(np.ones(films.shape[1:]), rows, axis=0), columns, axis=1)
    return (sums / counts / 255.0 - 0.5).reshape(len(films), -1)
