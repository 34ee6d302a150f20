"""What did the films look like that one update was learnt from? Asked by a coordinator who is honest, but curious."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.adversaries._appearance import not_granted
from fedcxr.methods import Form
from fedcxr.questions import Answer, Answers
from fedcxr.questions._film_curve import PICTURES, at
from fedcxr.questions._rising import STEPS
from fedcxr.questions._updates import SHARES, read
from fedcxr.rng import stream
from fedcxr.view import Weights

if TYPE_CHECKING:
    from fedcxr.adversaries._inverting import Descent, Distance
    from fedcxr.training.compute import Compute

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.


class Inversion(Adversary):
    """Seeks films that would have moved the weights as the update did.

    `cosine` compares the directions of gradients, `euclidean` the gradients themselves, and `mean` looks at nothing:
    it answers with the mean of the adversary's own films. All know the method, the weights before and after, and what
    is found on each film. What an optimiser hides of the gradient is taken back as far as its arithmetic allows:
    AdamW's first step tells the sign of each number, and by what is missing from 1 the size of all that are small.
    """

    paper: ClassVar[str | None] = (
        "Geiping et al., NeurIPS 2020 (cosine); Zhu et al., NeurIPS 2019 (euclidean); "
        "Yin et al., CVPR 2021 (statistics of batches)"
    )
    deviations: ClassVar[str | None] = (
        "Findings are known, and not sought. Descent is Adam's, unsigned, in the frequencies of films, each as strong "
        "as in films of one's own, and begins at their mean. A ReLU's switch has a sigmoid's derivative "
        "(Neftci et al., 2019), without which either attack stays where it begins. Where a network sees no exposure, "
        "pictures have that of the usual film."
    )
    answers: ClassVar[tuple[str, ...]] = ("inversion",)
    reads: ClassVar[frozenset[Form]] = frozenset({"model"})

    attackers: tuple[Literal["mean", "cosine", "euclidean"], ...] = ("mean", "cosine")
    steps: int = pydantic.Field(default=400, ge=1, le=10**7, description="of descent, for each update")
    learning_rate: float = pydantic.Field(
        default=0.1, gt=0, le=10, description="in deviations of a frequency between films; falls to 0"
    )
    total_variation: float = pydantic.Field(
        default=0.3, ge=0, le=1e6, description="how much smoother pictures are preferred"
    )
    statistics: float = pydantic.Field(
        default=0.1, ge=0, le=1e6, description="what a batch's statistics weigh, where an update tells them"
    )

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"steps": min(self.steps, 20)})

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        seeking = [attacker for attacker in self.attackers if attacker != "mean"]
        if leak.mechanism is None and seeking:
            do = "set knowledge.mechanism to true, or attackers to `mean`"
            raise not_granted(leak, f"the attacker `{seeking[0]}`", do, "a method that shares a model")
        found: dict[str, Answer] = {}
        for attacker in self.attackers:
            answer = _mean(leak) if attacker == "mean" else self._inverted(attacker, leak, seed, compute, progress)
            if answer is not None:
                found[attacker] = answer
            progress(f"inversion {attacker}", 1, 1)
        return found

    def _inverted(
        self, attacker: Distance, leak: Leak, seed: int, compute: Compute, progress: Progress
    ) -> Answer | None:
        """Pictures of every update's films; none, where the method does not say how it steps."""
        from fedcxr.adversaries._inverting import Prior, inverted

        assert leak.mechanism is not None, "that was asked before"
        assert leak.given is not None, "the question comes with updates"
        updates, prior, shown = list(read(leak.given)), Prior.of(leak.own.films, compute), []
        every, size = len(updates) * self.steps, leak.own.films.shape[1:]
        for number, update in enumerate(updates):
            step = leak.mechanism.one_step(update.before, update.labels, size, compute)
            if step is None:
                return None
            tell = partial(_along, progress, f"inversion {attacker}", number * self.steps, every)
            rng = stream(seed, "inversion", attacker, number)
            weights, films = (update.before, update.after), len(update.labels)
            shown.append(inverted(step, weights, films, prior, self._descent(attacker), rng, tell))
        stops = [np.concatenate(pictures) for pictures in zip(*shown, strict=True)]
        names = [at(share) for share in (*SHARES, 1)]
        return {**dict(zip(names, stops, strict=True)), STEPS: np.array(self.steps, dtype=np.int64)}

    def _descent(self, attacker: Distance) -> Descent:
        from fedcxr.adversaries._inverting import Descent

        return Descent(attacker, self.steps, self.learning_rate, self.total_variation, self.statistics)


def _mean(leak: Leak) -> Answer:
    assert leak.given is not None, "the question comes with updates"
    films = sum(len(update.labels) for update in read(leak.given))
    return {PICTURES: np.repeat(np.round(leak.own.films.mean(axis=0)).astype(np.uint8)[None], films, axis=0)}


def _along(progress: Progress, stage: str, before: int, every: int, done: int) -> None:
    progress(stage, before + done, every)
