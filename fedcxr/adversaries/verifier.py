"""Are these two films of one patient? A siamese network answers for every released and every known film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.adversaries._appearance import appearances, not_granted, pictures
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import RunContext
from fedcxr.models import pretrained
from fedcxr.models.architectures import ArchitectureName
from fedcxr.plugins import File
from fedcxr.questions import Answer, Answers
from fedcxr.rng import stream
from fedcxr.view import Appearance, Weights

if TYPE_CHECKING:
    from fedcxr.adversaries._paper import Protocol
    from fedcxr.adversaries._training import Lessons, Team
    from fedcxr.adversaries._verifying import Case
    from fedcxr.models.siamese import Siamese
    from fedcxr.training.compute import Compute
    from fedcxr.training.rising import Ascent, Rung

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

Attacker = Literal["naive", "retrained", "linear", "fused", "restored", "paper", "registered"]

_RESTORING = 2e-3  # learning rate of what undoes a protection
_SECOND = "second/"  # before the names of what was learnt from another seed


class Verifier(Adversary):
    """`naive` learns on clean films only; `retrained` goes on with pairs of a freshly protected and a real film.

    `linear` needs no network: it learns which numbers of small pictures survive the protection. `fused` asks it and two
    networks that see films differently, and compares in several ways what they see; `restored` first undoes what can be
    undone of a protection; `paper` is the published attacker, to be compared with the others. `registered` learns
    nothing: it looks for each part of a film around its place on the other.

    All but `linear`, `paper` and `registered` go on until own people who were held out say that doubling their training
    has stopped helping, or until `steps_clean` and `steps_retrain`, times `budget`, are over. What they would have
    answered before is told too, and with `runs: 2` what `naive`, `retrained` and `fused` would have answered from
    another seed.

    Of films that were released several times (`knowledge.releases`) everybody looks at the mean of all releases;
    `fused` compares sex and age as well where they are told (`knowledge.demographics`). Where all releases look the
    same and nothing else is told, as of `padded` and `sealed` codes, nobody trains and every pair gets the same score.
    """

    paper: ClassVar[str | None] = "Packhaeuser et al., Sci Rep 2022 (attacker); Packhaeuser et al., MICCAI 2023"
    deviations: ClassVar[str | None] = (
        "Softmax over all partners in the batch plus balanced cross-entropy instead of one label per pair; "
        "re-trained from the clean verifier on unlimited (protected, real) pairs instead of from ImageNet."
    )

    answers: ClassVar[tuple[str, ...]] = ("linkage", "inner_linkage")

    attackers: tuple[Attacker, ...] = ("naive", "retrained", "linear", "fused")
    network: ArchitectureName = "narrow"
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
    lone: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="chance that somebody with a single film takes part, with that film twice"
    )
    sharpness: float = pydantic.Field(default=8.0, gt=0, description="factor on logits inside the softmax")
    shift: int = pydantic.Field(default=1, ge=0, description="augmentation: films are moved by up to so many pixels")
    steps_clean: int = pydantic.Field(default=4800, ge=1, description="on clean films, at most")
    learning_rate: float = pydantic.Field(default=8e-3, gt=0)
    steps_retrain: int = pydantic.Field(default=3200, ge=1, description="on protected films, at most")
    learning_rate_retrain: float = pydantic.Field(default=4e-3, gt=0)
    steps_restore: int = pydantic.Field(default=800, ge=1, description="of the network that `restored` looks through")
    pairs_paper: int = pydantic.Field(default=10_000, ge=4, description="fixed pairs that `paper` learns from")
    runs_paper: int = pydantic.Field(
        default=1, ge=1, le=100, description="networks that `paper` begins with, each an attacker of its own"
    )
    budget: float = pydantic.Field(
        default=1.0, gt=0, le=1000, allow_inf_nan=False, description="factor on the longest trainings"
    )
    runs: int = pydantic.Field(
        default=1, ge=1, le=2, description="seeds: a second only tells whether both agree, and takes as long again"
    )

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return tuple(attacker for attacker in self.attackers if attacker not in ("naive", "registered"))

    def required_files(self) -> tuple[Path, ...]:
        weights = pretrained.find(self.network, self.pretrained)
        return () if weights is None else (weights,)

    def on_smoke_budget(self) -> Self:
        shorter = {
            "steps_clean": min(self.steps_clean, 60),
            "steps_retrain": min(self.steps_retrain, 40),
            "steps_restore": min(self.steps_restore, 20),
            "pairs_paper": min(self.pairs_paper, 320),
            "runs_paper": 1,
            "budget": 1.0,
            "runs": 1,
        }
        return self.model_copy(update=shorter)

    def prepare(self, own: Owned, seed: int, compute: Compute, progress: Progress) -> Weights:
        """The verifier of clean films, as it was on the way and at the end; and one from another seed, at its end."""
        from fedcxr.adversaries._rungs import kept

        rungs = self._risen(own, seed, self._clean, compute, progress)
        if self.runs == 1:
            return kept(rungs)
        once_more = self._risen(own, _another(seed), self._clean.straight_to(rungs[-1].steps), compute, progress)
        return kept(rungs) | {_SECOND + name: array for name, array in kept(once_more).items()}

    def _risen(self, own: Owned, seed: int, ascent: Ascent, compute: Compute, progress: Progress) -> list[Rung[Team]]:
        """With clean films."""
        from fedcxr.adversaries._examination import with_held_out
        from fedcxr.adversaries._training import learn
        from fedcxr.adversaries._views import Views

        team, own = self._team(seed, compute), with_held_out(own)
        views, streams = Views.unprotected(own.films, self.shift), partial(stream, seed, "verifier", "clean")
        return learn(team, own, views, self._lessons, ascent, compute, streams, partial(progress, "verifier clean"))

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        from fedcxr.adversaries._rungs import recalled
        from fedcxr.adversaries._training import Team
        from fedcxr.questions._rising import AGAIN, SCORES, STEPS
        from fedcxr.training import Plan
        from fedcxr.training.rising import best

        case = self._case(leak, question == "inner_linkage", seed, compute, progress)
        if case.all_alike:
            return dict.fromkeys((*self.attackers, *self._published), case.silence)
        first = {name: array for name, array in prepared.items() if not name.startswith(_SECOND)}
        team = partial(self._team, seed, compute)
        answers = self._trained(case, recalled(first, team), self._again)
        if self.runs == 2:
            weights = {name.removeprefix(_SECOND): prepared[name] for name in prepared if name.startswith(_SECOND)}
            other = replace(case, seed=_another(seed))
            taken = [int(answer[STEPS]) for attacker, answer in answers.items() if attacker != "naive"]
            ascent = self._again.straight_to(max(taken, default=1))
            once_more = self._trained(other, recalled(weights, team), ascent)
            for attacker, answer in once_more.items():
                answers[attacker] = {**answers[attacker], AGAIN: answer[SCORES]}
        if "linear" in self.attackers:
            answers["linear"] = case.linear()
        if "restored" in self.attackers:
            alone = Team(best(recalled(first, team)).network.members[:1])
            plan = Plan(max(1, round(self.budget * self.steps_restore)), _RESTORING)
            answers["restored"] = case.restored(alone, self._lessons, self._again, plan)
        for name in self._published:
            answers[name] = case.published(self._network(seed, name, compute), self._protocol)
        if "registered" in self.attackers:
            answers["registered"] = case.registered()
        return answers

    def _trained(self, case: Case, clean: list[Rung[Team]], ascent: Ascent) -> dict[str, Answer]:
        """What is answered by those who go on from a verifier of clean films, and by that verifier."""
        from fedcxr.training.rising import best

        answers: dict[str, Answer] = {}
        if "naive" in self.attackers:
            answers["naive"] = case.clean(clean)
        if {"retrained", "fused"} & set(self.attackers):
            rungs = case.again(best(clean).network, self._lessons, ascent)
            if "retrained" in self.attackers:
                answers["retrained"] = case.retrained(rungs)
            if "fused" in self.attackers:
                answers["fused"] = case.fused(rungs)
        return answers

    def _case(self, leak: Leak, inner: bool, seed: int, compute: Compute, progress: Progress) -> Case:
        from fedcxr.adversaries._demographics import Demographics
        from fedcxr.adversaries._examination import with_held_out
        from fedcxr.adversaries._repeated import released_again, repeated
        from fedcxr.adversaries._verifying import Case
        from fedcxr.adversaries._views import AnyOf

        known_looks = appearances(leak, RunContext.on(compute))
        self._check_granted(leak, known_looks)
        own, told = with_held_out(leak.own), Demographics.of(leak)
        looks, released = repeated(known_looks, pictures(leak, known_looks), released_again(leak))
        known = released if inner else leak.known
        return Case(own, AnyOf(looks), self.shift, released, known, told, inner, seed, compute, progress)

    def _check_granted(self, leak: Leak, looks: Sequence[Appearance]) -> None:
        if self.running_mechanism and not looks:
            who = f"the attacker `{self.running_mechanism[0]}` protects its own films, so it"
            raise not_granted(leak, who, "set knowledge.mechanism to true, or attackers to [naive]")

    @property
    def _lessons(self) -> Lessons:
        from fedcxr.adversaries._training import Lessons

        return Lessons(self.people, self.same_source, self.lone, self.sharpness)

    @property
    def _clean(self) -> Ascent:
        from fedcxr.training.rising import Ascent

        return Ascent(max(1, round(self.budget * self.steps_clean)), self.learning_rate)

    @property
    def _again(self) -> Ascent:
        from fedcxr.training.rising import Ascent

        return Ascent(max(1, round(self.budget * self.steps_retrain)), self.learning_rate_retrain)

    @property
    def _published(self) -> tuple[str, ...]:
        """The published attacker as often as it is asked for: the same pairs, and networks of other beginnings."""
        names = ("paper", *(f"paper-{run}" for run in range(2, self.runs_paper + 1)))
        return names if "paper" in self.attackers else ()

    @property
    def _protocol(self) -> Protocol:
        from fedcxr.adversaries._paper import Protocol

        rate = Protocol.learning_rate * (10 if self.network == "narrow" else 1)
        return Protocol(rate, self.pairs_paper, max(2, self.pairs_paper // 5))

    def _team(self, seed: int, compute: Compute) -> Team:
        """One network, and for `fused` a second that sees every pixel against its surroundings."""
        from fedcxr.adversaries._training import Team
        from fedcxr.models.backbone import Design
        from fedcxr.models.siamese import siamese
        from fedcxr.training import to_device

        first = self._network(seed, "weights", compute)
        if "fused" not in self.attackers:
            return Team([first])
        design = Design("narrow", self.width, self.stride, relative="surroundings")
        second = siamese(design, self.dimensions, stream(seed, "verifier", "weights", "second"))
        return Team([first, to_device(second, compute)])

    def _network(self, seed: int, of: str, compute: Compute) -> Siamese:
        from fedcxr.models.backbone import Design
        from fedcxr.models.siamese import siamese
        from fedcxr.training import to_device

        design = Design(self.network, self.width, self.stride, self.pretrained)
        return to_device(siamese(design, self.dimensions, stream(seed, "verifier", of)), compute)


def _another(seed: int) -> int:
    """From which an attack is run once more."""
    return int(stream(seed, "verifier", "another seed").integers(2**31))
