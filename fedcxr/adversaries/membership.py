"""Was this patient learnt from? Attackers who compare how sure a model is of a film with what others would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.adversaries._membership_case import Case
from fedcxr.adversaries._membership_signals import SIGNALS, Evidence, Films, Rounds
from fedcxr.adversaries._shadows import Training
from fedcxr.methods import Form, RunContext
from fedcxr.questions import Answer, Answers
from fedcxr.questions._rising import WITHOUT_EFFORT
from fedcxr.view import Weights

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

Attacker = Literal["loss", "calibrated", "rmia", "lira", "trajectory"]

MOMENTS = 8  # rounds that `trajectory` looks at, evenly spread: each costs a judgement of all films by all models


class Membership(Adversary):
    """`loss` needs the shared model alone; the others compare with shadow models, learnt by the method itself.

    `calibrated` takes away the loss of shadows that have not seen a film, `rmia` divides by their mean likelihood and
    asks how many films of others a film surpasses, `lira` weighs what shadows that have seen a film say against what
    those say that have not. `trajectory` calibrates in every round whose models are known (`knowledge.updates`), and
    without those says nothing.

    All use the same shadows, each learnt in as many turns as the model, at one place, from a random half of the people
    who are asked about and of the adversary's own: with the noise that the method has. Of several findings that are
    known of a film, `loss`, `calibrated` and `trajectory` take the mean loss, `rmia` and `lira` the sum of
    log-likelihood ratios.
    """

    paper: ClassVar[str | None] = (
        "Yeom et al., CSF 2018 (loss); Watson et al., ICLR 2022 (calibrated); Zarifzadeh et al., ICML 2024 (rmia); "
        "Carlini et al., S&P 2022 (lira); Liu et al., CCS 2022 (trajectory)"
    )
    deviations: ClassVar[str | None] = (
        "Shadows learn at one place what the model learnt at several. Findings of a film count as independent. rmia "
        "has shadows on both sides of each film, and gamma is 1; trajectory takes a mean over rounds in place of a "
        "network."
    )

    answers: ClassVar[tuple[str, ...]] = ("membership",)
    reads: ClassVar[frozenset[Form]] = frozenset({"model"})

    attackers: tuple[Attacker, ...] = ("loss", "calibrated", "rmia", "lira", "trajectory")
    shadows: int = pydantic.Field(default=4, ge=2, le=1024, multiple_of=2, description="models of its own; even")
    shift: int = pydantic.Field(
        default=0, ge=0, le=64, description="films are judged as they are and moved by so many pixels in 4 directions"
    )
    studied: int = pydantic.Field(
        default=4000, ge=2, le=1_000_000, description="films of its own that shadows learn from, at most"
    )

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return self.attackers

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"shadows": 2})

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        evidence = self._evidence(Case.of(leak, self.studied, self.shift, seed, RunContext.on(compute)), progress)
        answers: dict[str, Answer] = {}
        for attacker in self.attackers:
            if attacker == "trajectory" and evidence.rounds is None:
                continue
            signal = SIGNALS[attacker]
            told = {"scores": signal(evidence).astype(np.float32)}
            if attacker == "loss":  # no shadows, nothing learnt
                told |= WITHOUT_EFFORT
            if attacker != "loss" and self.shadows >= 4:
                told["half"] = signal(evidence.by(self.shadows // 4 * 2)).astype(np.float32)
            answers[attacker] = told
        return answers

    def _evidence(self, case: Case, progress: Progress) -> Evidence:
        """What the model says of all films, and what shadows say: all that attackers need."""
        target = case.sure(case.model)
        places = case.places(MOMENTS) if "trajectory" in self.attackers else []
        training = Training(case.method, case.begun, case.films, [own for _, own in places], case.seed, case.context)
        compared = set(self.attackers) - {"loss"} - (set() if places else {"trajectory"})
        inside, sure, during = [], [], []
        for number in range(self.shadows if compared else 0):
            progress("membership", number, self.shadows)
            shadow = training.shadow(number)
            inside.append(shadow.inside)
            sure.append(case.sure(shadow.model))
            during.append([case.errs(one) for one in shadow.turns] if places else [])
        progress("membership", self.shadows, self.shadows)
        shape = (0, *target.shape)
        films = Films(
            target,
            np.stack(sure) if sure else np.zeros(shape),
            np.stack(inside) if inside else np.zeros(shape[:2], dtype=np.bool_),
        )
        rounds = Rounds(case.seen([theirs for theirs, _ in places]), np.array(during)) if places and during else None
        return Evidence(films.take(slice(None, case.asked)), films.take(slice(case.asked, None)), rounds)
