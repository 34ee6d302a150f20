"""Share a classifier of findings whose training tells little of any one patient (Abadi et al., CCS 2016), by Opacus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.context import RunContext
from fedcxr.errors import Refused
from fedcxr.learning import Guarantee, Report
from fedcxr.methods import Round
from fedcxr.methods._network import NetworkMethod
from fedcxr.models.architectures import named
from fedcxr.view import Weights

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from fedcxr.learning.spending import Spending
    from fedcxr.models.classifier import Classifier
    from fedcxr.models.normalisation import Norm
    from fedcxr.training.compute import Compute
    from fedcxr.training.one_step import OneStep

Rows = npt.NDArray[np.intp]


class DpSgd(NetworkMethod):
    """Each site's steps are noisy sums over a few of its patients, who tell no more than a given epsilon together."""

    paper: ClassVar[str | None] = "Abadi et al., CCS 2016; Opacus: Yousefpour et al., 2021"
    deviations: ClassVar[str | None] = (
        "Patients are sampled, not films: all films of a patient make one clipped gradient. Sampling rate, steps and "
        "divisor are constants of the scenario; Opacus reckons them from the number of films. No finding counts for "
        "more because it is rare at a site, and sites count alike: numbers of films are private here."
    )

    unit: Literal["record", "patient"] = pydantic.Field(
        "patient", description="whom epsilon protects: patients with all their films, or each film on its own"
    )
    epsilon: float | None = pydantic.Field(
        8.0, gt=0, le=1e4, description="of all rounds together; the noise follows from it"
    )
    noise_multiplier: float | None = pydantic.Field(
        None, ge=0, le=1e4, description="in place of epsilon, which follows from it; 0: no noise and no guarantee"
    )
    delta: float = pydantic.Field(1e-5, ge=1e-10, lt=1, description="less than one in a site's patients, or films")
    clip: float = pydantic.Field(0.1, gt=0, le=1e6, description="length of a patient's gradient, at most")
    sample_rate: float = pydantic.Field(
        0.5, ge=1e-8, le=1, description="probability of each patient, or film, to be in a step"
    )
    batch: int = pydantic.Field(
        32,
        ge=1,
        le=4096,
        description="what each step's sum is divided by: a constant, whatever a site has; of public films, a batch",
    )
    rounds: int = pydantic.Field(10, ge=1, le=10_000)
    steps: int = pydantic.Field(4, ge=1, le=100_000, description="of each site in each round; all have their price")
    stride: Literal[2, 4] = pydantic.Field(4, description="pixels per step of the narrow network's first layer")
    learning_rate: float = pydantic.Field(1.0, gt=0, description="of gradients as long as `clip` allows")
    optimiser: Literal["sgd", "adam"] = pydantic.Field("sgd", description="of noisy gradients, anew in each round")
    norm: Literal["group"] = pydantic.Field("group", description="each film is normalised by itself")
    train: Literal["all", "head"] = pydantic.Field(
        "all", description="the whole network, or its last layer alone, of which noise hides less"
    )
    steps_public: int = pydantic.Field(400, ge=1, le=1_000_000, description="on public films, where learning starts so")

    @pydantic.field_validator("norm", mode="before")
    @classmethod
    def _without_batches(cls, norm: Any) -> Any:
        if norm != "group":
            raise ValueError(
                "only `group`: a layer that normalises over a batch mixes its films, so that no gradient is one "
                "patient's to be bounded"
            )
        return norm

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.noise_multiplier is not None and "epsilon" not in self.model_fields_set:
            object.__setattr__(self, "epsilon", None)  # whoever names the noise need not take epsilon's default away
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("epsilon and noise_multiplier: give one, for the other follows; null takes one away")
        if self.noise_multiplier is not None and 0 < self.noise_multiplier < 0.01:
            raise ValueError("noise_multiplier: so little noise guarantees nothing; 0 says so, 0.01 is the least else")
        if self.strategy == "fedprox":
            raise ValueError("strategy: fedprox is the sites' own work, which here is bounded steps and nothing else")
        if self.train == "all" and not named(self.network).per_film:
            raise ValueError(
                f"network: gradients of single films cannot be had of {self.network}, and without them none is one "
                "patient's to be bounded; train its last layer alone (train: head), or another network"
            )
        if self.train == "head" and self.start == "scratch":
            raise ValueError("train: head: a network that has learnt nothing has no use for a last layer; set `start`")
        return self

    @property
    def normalised(self) -> Norm:
        return self.norm

    @property
    def steps_of_start(self) -> int:
        return self.steps_public

    @property
    def noise(self) -> float:
        """The noise of each step: standard deviation, in lengths of `clip`."""
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        from fedcxr.learning.accounting import noise_multiplier

        assert self.epsilon is not None, "one of both is given"
        return noise_multiplier(self.epsilon, self.delta, self.sample_rate, self.rounds * self.steps)

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"rounds": 2, "steps": 2, "steps_public": 2})

    def unguarded(self) -> NetworkMethod:
        """The same network by plain steps on batches of films, as many of them."""
        from fedcxr.methods.fedavg import FedAvg

        same = {name: getattr(self, name) for name in NetworkMethod.model_fields}
        return FedAvg(**same, norm="group").unguarded()

    def counted(self, films: int) -> int:
        return 1

    def check_films(self, cohort: Cohort) -> None:
        # How many there are is not told: the refusal may be read elsewhere.
        if self.noise and self.delta * len(self._units(cohort)) >= 1:
            raise Refused(
                f"delta allows one of this site's {self.unit}s to be told outright",
                given=f"delta {self.delta:g}",
                allowed="less than one in their number",
                do="lower delta",
            )

    def spending(self, turn: Round) -> Spending | None:
        return self._spending(1)

    def guarantee(self, reported: Sequence[Report] = ()) -> Guarantee | None:
        """By the site that learnt in most rounds; of each site's own patients, whatever the others do."""
        from fedcxr.learning.accounting import epsilon, epsilon_rdp

        spent = self._spending(self.most_rounds(reported))
        if spent is None:
            return None
        return Guarantee(
            epsilon=epsilon([spent], self.delta),
            delta=self.delta,
            unit=self.unit,
            accountant="privacy loss distributions",
            epsilon_rdp=epsilon_rdp([spent], self.delta),
        )

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008  it is frozen
    ) -> Weights:
        import torch

        from fedcxr.training import Plan
        from fedcxr.training.private import Material, Mechanism, fit_privately

        compute, begun = context.compute, self.initial(rng) if start is None else start
        self.check_films(cohort)
        mechanism = Mechanism(self.clip, self.noise, self.sample_rate, self.batch)
        done, left = turn.around(self.steps)
        plan = Plan(self.steps, self.learning_rate, weight_decay=0.0, before=done, after=left)
        with compute.session():
            network = self._loaded(begun, compute)
            learning, inputs = self._learning(network, cohort, rng, compute)
            labels = torch.tensor(self.labels(cohort), device=compute.device)
            material = Material(inputs, labels, self._units(cohort), self.smoothing)
            progress = partial(context.progress, "learning")
            fit_privately(learning, material, mechanism, plan, self._optimiser, rng, progress)
        return self._shared(network)

    def single(self, films: int) -> Self:
        """With the noise of a usual step, whose divisor is not the number of films; everybody takes part."""
        told = {"steps": 1, "shift": 0, "sample_rate": 1.0, "noise_multiplier": self.noise, "epsilon": None}
        return self.model_copy(update=told)

    def one_step(
        self, start: Weights, labels: npt.NDArray[np.float32], size: tuple[int, int], compute: Compute
    ) -> OneStep | None:
        """But for clipping and noise, which nobody can take back; of a last layer alone, nothing."""
        from fedcxr.training import Plan
        from fedcxr.training.one_step import OneStep

        if self.train == "head":
            return None
        plan = Plan(1, self.learning_rate, weight_decay=0.0, optimiser="adamw" if self.optimiser == "adam" else "sgd")
        return OneStep.of(self._loaded(start, compute), labels, self.smoothing, plan, compute, rare=1.0)

    def _spending(self, rounds: int) -> Spending | None:
        from fedcxr.learning.spending import Spending

        if not self.noise:
            return None
        return Spending(
            unit=self.unit, noise_multiplier=self.noise, sample_rate=self.sample_rate, steps=rounds * self.steps
        )

    def _units(self, cohort: Cohort) -> list[Rows]:
        """The films of each patient, or each film by itself."""
        owners = pd.factorize(cohort.patients)[0] if self.unit == "patient" else np.arange(len(cohort))
        order = np.argsort(owners, kind="stable").astype(np.intp)
        borders = np.flatnonzero(np.diff(owners[order])) + 1
        return [unit for unit in np.split(order, borders) if len(unit)]

    def _learning(
        self, network: Classifier, cohort: Cohort, rng: np.random.Generator, compute: Compute
    ) -> tuple[nn.Module, Callable[[Rows], Tensor]]:
        """What of the network learns, and what that is shown of each film."""
        import torch

        from fedcxr.models.out_of_place import out_of_place
        from fedcxr.training import shifted, to_tensor

        if self.train == "all":
            out_of_place(network)
            return network, lambda rows: to_tensor(shifted(cohort.films(rows), self.shift, rng), compute)
        with torch.no_grad():  # once, and not moved: the frozen layers' answer is all that the last one reads
            parts = [network.backbone(to_tensor(films, compute)) for films in cohort.chunks()]
            features = torch.cat([*parts, torch.zeros(0, network.backbone.features, device=compute.device)])
        return network.head, lambda rows: features[torch.from_numpy(rows).to(compute.device)]

    def _optimiser(self, weights: list[nn.Parameter]) -> Optimizer:
        from fedcxr.training import MOMENTUM, optimisers

        if self.optimiser == "adam":
            return optimisers.Adam(weights, lr=self.learning_rate)
        return optimisers.SGD(weights, lr=self.learning_rate, momentum=MOMENTUM)
