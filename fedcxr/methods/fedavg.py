"""Share a classifier of findings, which all hospitals train in rounds, and no film (McMahan et al., AISTATS 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Annotation, Cohort
from fedcxr.context import RunContext
from fedcxr.data._vocabulary import align_cohort, canonical, union
from fedcxr.errors import DataError, UnknownName
from fedcxr.label_noise import LabelNoise
from fedcxr.learning import CentralNoise, Guarantee, Learning, Report
from fedcxr.methods import Round
from fedcxr.methods._network import NetworkMethod
from fedcxr.view import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from fedcxr.models.classifier import Classifier
    from fedcxr.models.normalisation import Norm
    from fedcxr.training import Plan
    from fedcxr.training.compute import Compute
    from fedcxr.training.label_noise import Correction
    from fedcxr.training.places import Places


class FedAvg(NetworkMethod):
    """Each site trains the network on its own films, and one of Flower's strategies makes one of all of them."""

    paper: ClassVar[str | None] = "McMahan et al., AISTATS 2017; strategies: as their names say"
    deviations: ClassVar[str | None] = (
        "A turn is a number of steps, not of epochs, so that large and small hospitals work alike long. Learning rates "
        "fall over all rounds together. `norm: local` shares scale and shift of each layer, and no statistics (SiloBN)."
    )

    learning_rate: float = pydantic.Field(4e-3, gt=0)
    weight_decay: float = pydantic.Field(0.05, ge=0)
    optimiser: Literal["adamw", "sgd"] = pydantic.Field("adamw", description="of the sites, anew in each round")
    norm: Literal["shared", "local", "group"] = pydantic.Field(
        "shared",
        description="statistics of batches: shared and averaged, kept at each site (whoever uses the network takes "
        "those of the films it is used on), or none, each film being normalised by itself",
    )
    label_noise: LabelNoise = pydantic.Field(
        LabelNoise(),
        description="how often labels are right, at all sites or, `estimated`, at each by what the model says of its "
        "films before a turn; the loss allows for it",
    )
    weighting: Literal["films", "equal"] = pydantic.Field("films", description="what a site's voice is worth")
    central: CentralNoise | None = pydantic.Field(
        None, description="let the coordinator bound each site's update, and add noise: privacy of whole sites"
    )

    anatomy: tuple[Annotation, ...] = pydantic.Field(
        (),
        description="heads of the narrow network learn with it where lungs and heart are, and in which part of a film "
        "each finding is (boxes), at sites whose films have it; nobody asks them afterwards",
    )

    @pydantic.field_validator("anatomy")
    @classmethod
    def _in_one_order(cls, anatomy: tuple[Annotation, ...]) -> tuple[Annotation, ...]:
        return tuple(one for one in get_args(Annotation) if one in anatomy)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.central is not None and self.norm == "shared":
            raise ValueError("norm: statistics of batches are bounded by nothing; with `central`, `group` or `local`")
        if self.anatomy and self.network != "narrow":
            raise ValueError(
                f"anatomy: heads read the narrow network's map of cells, and {self.network} has none; set network: "
                "narrow, or leave anatomy out"
            )
        if self.label_noise.file is not None:
            raise ValueError("label_noise.file: hospitals read no file that a scenario names; give `findings`")
        if self.label_noise.by_site:
            raise ValueError(
                "label_noise: each hospital learns from its own films alone; with `estimated` it finds out"
            )
        try:
            self.label_noise.of(self.findings)
        except UnknownName as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def learning(self) -> Learning:
        return replace(super().learning, central=self.central)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return self.anatomy

    @property
    def normalised(self) -> Norm:
        return "group" if self.norm == "group" else "batch"

    @property
    def keeps_statistics(self) -> bool:
        return self.norm == "local"

    def unguarded(self) -> FedAvg:
        return self.model_copy(update={"strategy": "fedavg", "options": {}, "participation": 1.0, "central": None})

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"rounds": 2, "steps": 2, "batch": 4})

    def counted(self, films: int) -> int:
        return films if self.weighting == "films" else 1

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008  it is frozen
    ) -> Weights:
        from fedcxr.training.classifier import Recipe, teach

        if len(cohort) < self.batch:
            raise DataError(
                "too few films to learn from: one batch would show all of them",
                given=len(cohort),
                allowed=f"{self.batch} or more (method.batch)",
            )
        compute, begun = context.compute, self.initial(rng) if start is None else start
        recipe = Recipe(self.steps, self.batch, shift=self.shift, smoothing=self.smoothing)
        plan, labels = self._plan(self.steps, turn), self.labels(cohort)
        with compute.session():
            network = self._loaded(begun, compute)
            scores = self.predict(cohort.films(), begun, context) if self.label_noise.estimated else None
            teach(
                network, cohort.films(), labels, recipe, rng, compute,
                partial(context.progress, "learning"), plan=plan, penalty=self._penalty(network),
                correction=self.correction(labels, compute, scores), places=self._of_places(cohort, labels, context),
            )  # fmt: skip
        return self._shared(network)

    def _of_places(self, cohort: Cohort, labels: npt.NDArray[np.float32], context: RunContext) -> Places | None:
        """What these films tell of where things are, as far as it is asked for; None: nothing."""
        if not self.anatomy:
            return None
        from fedcxr.training.places import Places

        aligned = align_cohort(cohort, union(self.findings, cohort.findings))
        places = Places.of(aligned, labels, [canonical(finding) for finding in self.findings], self.anatomy)
        context.report({"anatomy": list(places.known)})
        return places if places.known else None

    def correction(
        self, labels: npt.NDArray[np.float32], compute: Compute, scores: npt.NDArray[np.float32] | None = None
    ) -> Correction | None:
        """Nothing of a finding that no film shows, or of which a site's films do not tell how often it is right."""
        if not self.label_noise.on:
            return None
        from fedcxr.training.label_noise import Correction, confident

        rates = list(self.label_noise.of(self.findings))
        if scores is not None:
            estimated, _ = confident(labels, scores, self.findings)
            rates = [own if own is not None else one for own, one in zip(rates, estimated, strict=True)]
        there = (labels == 1).any(axis=0)
        known = [rate if some else None for rate, some in zip(rates, there, strict=True)]
        return Correction.of(known, self.label_noise.unknown, labels, compute.device)

    @property
    def first_step(self) -> Plan | None:
        return self._plan(1, Round())

    def _plan(self, steps: int, turn: Round) -> Plan:
        from fedcxr.training import Plan

        done, left = turn.around(steps)
        return Plan(steps, self.learning_rate, self.weight_decay, optimiser=self.optimiser, before=done, after=left)

    def _penalty(self, network: Classifier) -> Callable[[], Tensor] | None:
        """What keeps a site's weights near those it was sent, where the strategy asks for that (Li et al., FedProx)."""
        strength = self.learning.aggregation.pull
        if not strength:
            return None
        import torch

        sent = [weights.detach().clone() for weights in network.parameters()]

        def distance() -> Tensor:
            parts = [(now - then).square().sum() for now, then in zip(network.parameters(), sent, strict=True)]
            return 0.5 * strength * torch.stack(parts).sum()

        return distance

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        if self.central is None:
            return None
        from fedcxr.learning.accounting import gaussian_epsilon

        rounds = self.most_rounds(reported)
        epsilon = gaussian_epsilon(self.central.noise_multiplier, rounds, self.central.delta)
        return Guarantee(epsilon=epsilon, delta=self.central.delta, unit="site", accountant="exact Gaussian")
