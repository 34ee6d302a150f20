"""Are these two films of one patient? A siamese network answers for every released and every known film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.adversaries._appearance import appearances, pictures
from fedcxr.adversaries._sampler import OwnPairSampler
from fedcxr.errors import ConfigError
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films, Protect, RunContext
from fedcxr.models import pretrained
from fedcxr.plugins import File
from fedcxr.questions import Answers
from fedcxr.questions.linkage import Scores
from fedcxr.rng import stream
from fedcxr.view import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from fedcxr.models.siamese import Siamese
    from fedcxr.training.compute import Compute

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.


class Verifier(Adversary):
    """`naive` learns on clean films only; `retrained` goes on with pairs of a freshly protected and a real film."""

    paper: ClassVar[str | None] = "Packhaeuser et al., Sci Rep 2022 (attacker); Packhaeuser et al., MICCAI 2023"
    deviations: ClassVar[str | None] = (
        "Softmax over all partners in the batch plus balanced cross-entropy instead of one label per pair; "
        "re-trained from the clean verifier on unlimited (protected, real) pairs instead of from ImageNet."
    )

    attackers: tuple[Literal["naive", "retrained"], ...] = ("naive", "retrained")
    network: Literal["narrow", "resnet50", "densenet121"] = "narrow"
    width: int = pydantic.Field(default=24, ge=1, description="channels of the narrow network's first layer")
    stride: Literal[2, 4] = pydantic.Field(
        default=4, description="pixels per step of the narrow network's first layer: 2 sees more, 4 is faster"
    )
    pretrained: Literal["none", "imagenet"] | File = pydantic.Field(
        default="none", description="none, imagenet or a safetensors file"
    )
    dimensions: int = pydantic.Field(default=128, ge=1, description="length of the embedding")
    people: int = pydantic.Field(default=24, ge=2, description="people in a batch, with two films each")
    same_source: float = pydantic.Field(default=0.9, ge=0, le=1, description="share of batches from one hospital")
    sharpness: float = pydantic.Field(default=8.0, gt=0, description="factor on logits inside the softmax")
    shift: int = pydantic.Field(default=1, ge=0, description="augmentation: films are moved by up to so many pixels")
    steps_clean: int = pydantic.Field(default=600, ge=1)
    learning_rate: float = pydantic.Field(default=8e-3, gt=0)
    steps_retrain: int = pydantic.Field(default=400, ge=1)
    learning_rate_retrain: float = pydantic.Field(default=4e-3, gt=0)

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return tuple(attacker for attacker in self.attackers if attacker == "retrained")

    def required_files(self) -> tuple[Path, ...]:
        weights = pretrained.find(self.network, self.pretrained)
        return () if weights is None else (weights,)

    def on_smoke_budget(self) -> Self:
        shorter = {"steps_clean": min(self.steps_clean, 60), "steps_retrain": min(self.steps_retrain, 40)}
        return self.model_copy(update=shorter)

    def prepare(self, own: Owned, seed: int, compute: Compute, progress: Progress) -> Weights:
        """The verifier of clean films."""
        from fedcxr.training import arrays_of

        network = self._verifier(seed, compute)
        self._train(network, own, (), seed, compute, progress)
        return arrays_of(network)

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        from fedcxr.training import loaded

        looks = appearances(leak, RunContext.on(compute))
        if "retrained" in self.attackers and not looks:
            mechanism = leak.mechanism
            raise ConfigError(
                "the attacker `retrained` protects its own films, so it must be granted the method",
                given="nothing" if mechanism is None else mechanism.plugin_name(),
                allowed="a method whose releases can be looked at",
                do="set knowledge.mechanism to true, or attackers to [naive]",
            )
        released = pictures(leak, looks)
        network = loaded(self._verifier(seed, compute), prepared)
        scores = {}
        if "naive" in self.attackers:
            scores["naive"] = _compare(network, released, leak.known, compute)
        if "retrained" in self.attackers:
            self._train(network, leak.own, [look.protected for look in looks], seed, compute, progress)
            scores["retrained"] = _compare(network, released, leak.known, compute)
        return {attacker: {"scores": found} for attacker, found in scores.items()}

    def _verifier(self, seed: int, compute: Compute) -> Siamese:
        from fedcxr.models.backbone import Design
        from fedcxr.models.siamese import siamese
        from fedcxr.training import to_device

        rng = stream(seed, "verifier", "weights")
        design = Design(self.network, self.width, self.stride, self.pretrained)
        return to_device(siamese(design, self.dimensions, rng), compute)

    def _train(
        self,
        network: Siamese,
        own: Owned,
        versions: Sequence[Protect],
        seed: int,
        compute: Compute,
        progress: Progress,
    ) -> None:
        """Show pairs of films of one person; where the mechanism is known, the first is protected anew every time.

        Hospitals that learnt by themselves protect in as many versions, of which each batch meets one.
        """
        from fedcxr.models.siamese import partner_loss
        from fedcxr.training import Plan, fit, shifted, to_tensor

        stage = "retrained" if versions else "clean"
        rng = stream(seed, "verifier", stage)
        sampler = OwnPairSampler.owned(own)

        def loss(step: int) -> Tensor:
            rows = sampler.draw(self.people, self.same_source, rng)
            # Moved first and protected second, as a release would be: a grid of cells stays where it was.
            first, second = (shifted(own.films[r], self.shift, rng) for r in rows)
            if versions:
                version = versions[int(rng.integers(len(versions))) if len(versions) > 1 else 0]
                first = version(first, rng)
            embedded = network.embed(to_tensor(np.concatenate([first, second]), compute))
            logits = network.compare(embedded[: len(first)], embedded[len(first) :])
            return partner_loss(logits, self.sharpness)

        plan = (
            Plan(self.steps_retrain, self.learning_rate_retrain)
            if versions
            else Plan(self.steps_clean, self.learning_rate)
        )
        with compute.session():
            fit(network, loss, plan, compute, lambda step, steps: progress(f"verifier {stage}", step, steps))


def _compare(network: Siamese, released: Films, known: Films, compute: Compute) -> Scores:
    """The logit of every (released, known) pair: each film is embedded once."""
    import torch

    from fedcxr.training import predict

    with compute.session(), torch.inference_mode():
        first, second = (
            torch.from_numpy(predict(network, films, compute)).to(compute.device) for films in (released, known)
        )
        scores: Scores = network.compare(first, second).cpu().numpy()
    return scores
