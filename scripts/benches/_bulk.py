"""A model that is nothing but large: what it costs to carry one, and not to learn it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.learning import Learning
from fedcxr.methods import ModelMethod, Round, RunContext, Weights
from fedcxr.view import Films


class Bulk(ModelMethod):
    """So many random numbers, which do not compress and which every site moves a little."""

    megabytes: float = pydantic.Field(1.0, gt=0, le=4096)
    rounds: int = pydantic.Field(3, ge=1, le=1000)

    @property
    def learning(self) -> Learning:
        return Learning("federated", self.rounds, "fedavg")

    def initial(self, rng: np.random.Generator) -> Weights:
        return {"bulk": rng.random(int(self.megabytes * 250_000), dtype=np.float32)}

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008  it is frozen
    ) -> Weights:
        begun = self.initial(rng) if start is None else start
        return {"bulk": begun["bulk"].astype(np.float32) + np.float32(0.001)}

    def predict(self, films: Films, weights: Weights, context: RunContext) -> npt.NDArray[np.float32]:  # (n, k)
        return np.zeros((len(films), len(self.findings)), dtype=np.float32)
