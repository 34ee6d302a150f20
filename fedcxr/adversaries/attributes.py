"""Of what kind of person is this film? A small network reads sex, age, scanner and findings off releases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.adversaries._appearance import appearances, not_granted, pictures
from fedcxr.knowledge.own_records import records_in
from fedcxr.methods import RunContext
from fedcxr.questions import Answers
from fedcxr.rng import stream
from fedcxr.view import Weights

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from fedcxr.adversaries._views import Views
    from fedcxr.models.classifier import Classifier
    from fedcxr.training.compute import Compute

# Torch and the network are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second.


class Attributes(Adversary):
    """`naive` learns from clean films of its own; `retrained` goes on with films that it protects anew every time.

    One network answers everything at once: it learns from records of its own films (`knowledge.own_records`), and what
    is unknown of a film teaches nothing.
    """

    answers: ClassVar[tuple[str, ...]] = ("attributes",)

    attackers: tuple[Literal["naive", "retrained"], ...] = ("naive", "retrained")
    width: int = pydantic.Field(default=16, ge=1, le=1024, description="channels of the network's first layer")
    batch: int = pydantic.Field(default=48, ge=2, le=4096, description="films in a batch")
    shift: int = pydantic.Field(default=2, ge=0, le=64, description="films are moved by up to so many pixels")
    smoothing: float = pydantic.Field(default=0.1, ge=0, lt=1, description="how far 0 and 1 are drawn to one half")
    steps_clean: int = pydantic.Field(default=500, ge=1, le=1_000_000)
    steps_retrain: int = pydantic.Field(default=500, ge=1, le=1_000_000)
    learning_rate: float = pydantic.Field(default=4e-3, gt=0, le=1)

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return tuple(attacker for attacker in self.attackers if attacker == "retrained")

    def on_smoke_budget(self) -> Self:
        shorter = {"steps_clean": min(self.steps_clean, 60), "steps_retrain": min(self.steps_retrain, 40)}
        return self.model_copy(update=shorter)

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        from fedcxr.adversaries._views import AnyOf, Views
        from fedcxr.models.backbone import Design
        from fedcxr.models.classifier import classifier
        from fedcxr.training import predict, to_device

        looks = appearances(leak, RunContext.on(compute))
        if "retrained" in self.attackers and not looks:
            who = "the attacker `retrained` protects its own films, so it"
            raise not_granted(leak, who, "set knowledge.mechanism to true, or attackers to [naive]")
        released, targets = pictures(leak, looks), records_in(leak.holdings["own_records"]).targets
        rng, answers = stream(seed, "attributes"), {}
        network = to_device(classifier(Design(width=self.width), targets.shape[1], rng), compute)
        with compute.session():
            unprotected = Views.unprotected(leak.own.films, self.shift)
            said = partial(progress, "attributes clean")
            self._train(network, unprotected, targets, self.steps_clean, rng, compute, said)
            if "naive" in self.attackers:
                answers["naive"] = {"scores": predict(network, released, compute)}
            if "retrained" in self.attackers:
                protected = Views.protected(leak.own.films, AnyOf(looks), self.shift)
                said = partial(progress, "attributes retrained")
                self._train(network, protected, targets, self.steps_retrain, rng, compute, said)
                answers["retrained"] = {"scores": predict(network, released, compute)}
        return answers

    def _train(
        self,
        network: Classifier,
        views: Views,
        targets: npt.NDArray[np.float32],
        steps: int,
        rng: np.random.Generator,
        compute: Compute,
        progress: Callable[[int, int], None],
    ) -> None:
        import torch

        from fedcxr.models.classifier import findings_loss
        from fedcxr.training import Plan, epochs, fit, to_tensor
        from fedcxr.training.classifier import RARE, class_weights

        order, truth = epochs(len(targets), self.batch, rng), torch.tensor(targets, device=compute.device)
        weights = class_weights(truth, RARE)

        def loss(step: int) -> Tensor:
            rows = next(order)
            shown = to_tensor(views.released(rows, rng), compute)
            known = truth[torch.from_numpy(rows).to(compute.device)]
            return findings_loss(network(shown), known, weights, self.smoothing)

        fit(network, loss, Plan(steps, self.learning_rate), compute, progress)
