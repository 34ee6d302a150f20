"""Ways of sharing a model in place of films."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.context import RunContext
from fedcxr.data._vocabulary import known_by
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.learning import Learning
from fedcxr.methods._method import Form, Held, Judged, Method
from fedcxr.release import Kind, Release
from fedcxr.view import Films, Holder, Shared, View, Weights


class ModelMethod(Method):
    """A method that shares the model that was learnt, and no film."""

    kind: ClassVar[Kind] = "update"

    @property
    def forms(self) -> tuple[Form, ...]:
        return ("model",)

    @property
    def judges(self) -> tuple[str, ...]:
        return self.findings

    @property
    @abstractmethod
    def learning(self) -> Learning:
        """How the model is learnt: `federated`, or `local`, where each site shares a model of its own."""

    def per_film(self, size: tuple[int, int]) -> Mapping[str, Held]:
        return {}

    findings: tuple[Annotated[str, pydantic.Field(min_length=1, max_length=200)], ...] = pydantic.Field(
        default=FINDINGS, min_length=1, description="what the model tells of a film, in this order"
    )

    def demand(self, cohort: Cohort) -> None:
        if np.isnan(self.labels(cohort)).all():
            raise DataError(
                "these films tell none of the findings that the model is to tell, so that it would learn nothing",
                given=", ".join(cohort.findings) or "no finding",
                allowed=", ".join(self.findings),
                do="name the films' own findings in method.findings",
            )

    @abstractmethod
    def predict(self, films: Films, weights: Weights, context: RunContext) -> npt.NDArray[np.float32]:  # (n, k)
        """How much each film shows of each of `findings`: the higher, the surer."""

    def update(self, batch: Cohort, start: Weights, rng: np.random.Generator, context: RunContext) -> Weights | None:
        return self.learn(batch, rng, context, start) if self.learning.place == "federated" else None

    def judged(self, cohort: Cohort, model: Weights, context: RunContext) -> Judged:
        return Judged(self.findings, self.labels(cohort), self.predict(cohort.films(), model, context))

    def labels(self, cohort: Cohort) -> npt.NDArray[np.float32]:  # (n, k) of 0, 1 or NaN
        """What is known of each of `findings`; what a hospital never looked for is unknown, and its model learns on."""
        return known_by(cohort, self.findings)

    def view(self, shared: Shared, holder: Holder, context: RunContext) -> View:
        nothing = np.zeros(0, dtype=np.intp)
        # Where each site learns alone there are many models, and none is everybody's.
        model = shared.taught[0] if len(shared.taught) == 1 else None
        return View({}, nothing.astype(np.bool_), nothing.astype(np.int64), model)

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        """From how many films the site learnt; a model of its own with it, while one of all sites is known to all."""
        told = Release(
            "update", keys.origin.site, self.plugin_name(), {}, {"films": self.counted(len(cohort.where("train")))}
        )
        return told.publishing(weights) if self.learning.place == "local" else told
