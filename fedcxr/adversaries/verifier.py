"""Are these two films of one patient? A siamese network answers for every released and every known film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.adversaries._appearance import appearances, pictures
from fedcxr.errors import ConfigError
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import RunContext
from fedcxr.models import pretrained
from fedcxr.plugins import File
from fedcxr.questions import Answer, Answers
from fedcxr.questions.linkage import Scores
from fedcxr.rng import stream
from fedcxr.view import Appearance, Weights

if TYPE_CHECKING:
    from fedcxr.adversaries._training import Lessons, Team
    from fedcxr.training.compute import Compute
    from fedcxr.training.rising import Ascent, Rung

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

Attacker = Literal["naive", "retrained", "fused"]


class Verifier(Adversary):
    """`naive` learns on clean films only; `retrained` goes on with pairs of a freshly protected and a real film.

    `fused` asks two networks that see films differently.

    Each goes on until its own held-out people say that a doubling of its training has stopped helping, or until
    `steps_clean` and `steps_retrain` times `budget` are over; what it would have answered before is part of its answer.
    """

    paper: ClassVar[str | None] = "Packhaeuser et al., Sci Rep 2022 (attacker); Packhaeuser et al., MICCAI 2023"
    deviations: ClassVar[str | None] = (
        "Softmax over all partners in the batch plus balanced cross-entropy instead of one label per pair; "
        "re-trained from the clean verifier on unlimited (protected, real) pairs instead of from ImageNet."
    )

    attackers: tuple[Attacker, ...] = ("naive", "retrained", "fused")
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
    steps_clean: int = pydantic.Field(default=4800, ge=1, description="on clean films, at most")
    learning_rate: float = pydantic.Field(default=8e-3, gt=0)
    steps_retrain: int = pydantic.Field(default=3200, ge=1, description="on protected films, at most")
    learning_rate_retrain: float = pydantic.Field(default=4e-3, gt=0)
    budget: float = pydantic.Field(default=1.0, gt=0, le=1000, description="factor on the longest trainings")

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return tuple(attacker for attacker in self.attackers if attacker != "naive")

    def required_files(self) -> tuple[Path, ...]:
        weights = pretrained.find(self.network, self.pretrained)
        return () if weights is None else (weights,)

    def on_smoke_budget(self) -> Self:
        shorter = {"steps_clean": min(self.steps_clean, 60), "steps_retrain": min(self.steps_retrain, 40), "budget": 1}
        return self.model_copy(update=shorter)

    def prepare(self, own: Owned, seed: int, compute: Compute, progress: Progress) -> Weights:
        """The verifier of clean films, as it was on the way and at the end."""
        from fedcxr.adversaries._training import Views, kept, learn, with_held_out

        team = self._team(seed, compute)
        own = with_held_out(own)
        views = Views.unprotected(own.films, self.shift)
        streams, said = partial(stream, seed, "verifier", "clean"), _said(progress, "clean")
        return kept(learn(team, own, views, self._lessons, self._clean, compute, streams, said))

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        from fedcxr.adversaries._training import compared, recalled, told
        from fedcxr.training.rising import best

        looks = appearances(leak, RunContext.on(compute))
        self._check_granted(leak, looks)
        released = pictures(leak, looks)
        clean = recalled(prepared, partial(self._team, seed, compute))
        answers: dict[str, Answer] = {}

        def first(team: Team) -> Scores:
            return compared(team.members[0], released, leak.known, compute)

        if "naive" in self.attackers:
            answers["naive"] = told(clean, first, _of_first)

        def together(team: Team) -> Scores:
            scores = [compared(network, released, leak.known, compute) for network in team.members]
            return np.asarray(np.mean(scores, axis=0))

        if self.running_mechanism:
            rungs = self._retrained(best(clean).network, leak.own, looks, seed, compute, progress)
            if "retrained" in self.attackers:
                answers["retrained"] = told(rungs, first, _of_first)
            if "fused" in self.attackers:
                answers["fused"] = told(rungs, together, lambda rung: None)
        return answers

    def _retrained(
        self,
        team: Team,
        own: Owned,
        looks: Sequence[Appearance],
        seed: int,
        compute: Compute,
        progress: Progress,
    ) -> list[Rung[Team]]:
        """Go on from what was learnt of clean films, with films that are protected anew every time."""
        from fedcxr.adversaries._training import Views, learn, with_held_out

        own = with_held_out(own)
        views = Views.protected(own.films, [look.protected for look in looks], self.shift)
        streams, said = partial(stream, seed, "verifier", "retrained"), _said(progress, "retrained")
        return learn(team, own, views, self._lessons, self._again, compute, streams, said)

    def _check_granted(self, leak: Leak, looks: Sequence[Appearance]) -> None:
        if not self.running_mechanism or looks:
            return
        mechanism = leak.mechanism
        raise ConfigError(
            f"the attacker `{self.running_mechanism[0]}` protects its own films, so it must be granted the method",
            given="nothing" if mechanism is None else mechanism.plugin_name(),
            allowed="a method whose releases can be looked at",
            do="set knowledge.mechanism to true, or attackers to [naive]",
        )

    @property
    def _lessons(self) -> Lessons:
        from fedcxr.adversaries._training import Lessons

        return Lessons(self.people, self.same_source, sharpness=self.sharpness)

    @property
    def _clean(self) -> Ascent:
        from fedcxr.training.rising import Ascent

        return Ascent(max(1, round(self.budget * self.steps_clean)), self.learning_rate)

    @property
    def _again(self) -> Ascent:
        from fedcxr.training.rising import Ascent

        return Ascent(max(1, round(self.budget * self.steps_retrain)), self.learning_rate_retrain)

    def _team(self, seed: int, compute: Compute) -> Team:
        """One network, and for `fused` a second that sees every pixel against its surroundings."""
        from fedcxr.adversaries._training import Team
        from fedcxr.models.backbone import Design
        from fedcxr.models.siamese import siamese
        from fedcxr.training import to_device

        designs = [Design(self.network, self.width, self.stride, self.pretrained)]
        if "fused" in self.attackers:
            designs.append(Design("narrow", self.width, self.stride, relative="surroundings"))
        rngs = [stream(seed, "verifier", "weights", place) for place in range(len(designs))]
        team = Team(siamese(design, self.dimensions, rng) for design, rng in zip(designs, rngs, strict=True))
        return to_device(team, compute)


def _of_first(rung: Rung[Team]) -> float | None:
    return None if rung.figures is None else rung.figures[0]


def _said(progress: Progress, stage: str) -> Callable[[int, int], None]:
    return lambda step, steps: progress(f"verifier {stage}", step, steps)
