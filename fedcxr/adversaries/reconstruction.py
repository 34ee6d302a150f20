"""What did these films look like before they were protected? Networks that have learnt the way back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
import pydantic

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.adversaries._appearance import not_granted
from fedcxr.adversaries._inputs import Released
from fedcxr.methods import RunContext
from fedcxr.questions import Answer, Answers
from fedcxr.questions._film_curve import followed, told
from fedcxr.rng import stream
from fedcxr.view import Weights

if TYPE_CHECKING:
    from fedcxr.adversaries._restoring import Learning
    from fedcxr.training.compute import Compute
    from fedcxr.training.rising import Ascent

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

PAIRED = ("unet", "vnet", "gan")  # they protect films of their own


class Reconstruction(Adversary):
    """Makes films of releases, or of what codes show without a key.

    `copy` takes a release for the film, and `mean` looks at nothing: whoever does no better has found nothing.
    `unet`, `vnet` and `gan` learn from pairs of a film of their own as it would be released and as it is; `cyclegan`
    from the films under attack as they were released and clean films of other people, without any pair.
    """

    paper: ClassVar[str | None] = (
        "Shiri et al., JBI 2024 (which attackers); Ronneberger et al. 2015 (unet); Milletari et al. 2016 (vnet); "
        "Isola et al. 2017 (gan); Zhu et al. 2017 (cyclegan)"
    )
    deviations: ClassVar[str | None] = (
        "Films are protected anew for every batch instead of once. Networks say what is to be added to a release; they "
        "are small by default, and read and write cells of pixels. A critic is updated together with its generator, by "
        "AdamW, and has group instead of batch normalisation. CycleGAN's generators are U-Nets, and it keeps no pool "
        "of earlier pictures."
    )
    answers: ClassVar[tuple[str, ...]] = ("reconstruction",)

    attackers: tuple[Literal["copy", "mean", "unet", "vnet", "gan", "cyclegan"], ...] = ("copy", "mean", "unet")
    widths: tuple[Annotated[int, pydantic.Field(ge=1, le=4096)], ...] = pydantic.Field(
        default=(16, 32, 64), min_length=1, max_length=8, description="channels of a generator, level by level"
    )
    critic: tuple[Annotated[int, pydantic.Field(ge=1, le=4096)], ...] = pydantic.Field(
        default=(16, 32, 64), min_length=1, max_length=8, description="channels of a critic, layer by layer"
    )
    cell: int = pydantic.Field(
        default=2, ge=1, le=16, description="side of the cells that generators read and write: 1 sees more, 4 is fast"
    )
    batch: int = pydantic.Field(default=16, ge=1, le=65536)
    shift: int = pydantic.Field(default=1, ge=0, le=256, description="own films are moved by up to so many pixels")
    steps: int = pydantic.Field(default=1600, ge=1, le=10**9, description="at most: whoever stops rising stops before")
    budget: float = pydantic.Field(default=1.0, gt=0, le=1000, description="factor on `steps`")
    learning_rate: float = pydantic.Field(default=1e-2, gt=0, le=10, description="of unet and vnet")
    learning_rate_against: float = pydantic.Field(default=3e-3, gt=0, le=10, description="of networks with a critic")

    @property
    def running_mechanism(self) -> tuple[str, ...]:
        return tuple(attacker for attacker in self.attackers if attacker in PAIRED)

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"steps": min(self.steps, 30), "budget": 1})

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        released = Released.of(leak, RunContext.on(compute))
        if not released.versions and (unable := self._unable(leak)):
            do = "set knowledge.mechanism to true, or attackers to others"
            raise not_granted(leak, f"the attacker `{unable[0]}`", do)
        found: dict[str, Answer] = {}
        for attacker in self.attackers:
            match attacker:
                case "copy":
                    found[attacker] = {"pictures": released.inputs.pictures}
                case "mean":
                    mean = np.round(leak.own.films.mean(axis=0)).astype(np.uint8)
                    found[attacker] = {"pictures": np.repeat(mean[None], len(leak.view), axis=0)}
                case _:
                    found[attacker] = self._learnt(attacker, leak, released, seed, compute, progress)
            progress(f"reconstruction {attacker}", 1, 1)
        return found

    def _unable(self, leak: Leak) -> list[str]:
        """Attackers who cannot do without the method; of codes, nobody sees anything else."""
        looking = () if "films" in leak.view.forms and "sealed" not in leak.view.forms else ("copy", "cyclegan")
        return [attacker for attacker in self.attackers if attacker in (*PAIRED, *looking)]

    def _learnt(
        self, attacker: Learning, leak: Leak, released: Released, seed: int, compute: Compute, progress: Progress
    ) -> Answer:
        from fedcxr.adversaries._examination import with_held_out
        from fedcxr.adversaries._restoration import restored
        from fedcxr.adversaries._restoring import Lessons, Size, learn
        from fedcxr.training.rising import best

        lessons = Lessons(with_held_out(leak.own), released, self.batch, self.shift, compute)
        size = Size(self.widths, self.critic, self.cell)
        streams = partial(stream, seed, "reconstruction", attacker)
        said = partial(progress, f"reconstruction {attacker}")
        rungs = learn(attacker, lessons, size, self._ascent(attacker), streams, said)
        with compute.session():
            pictures = restored(best(rungs).network, released.inputs, compute)
            pictures[released.lie_open] = released.inputs.pictures[released.lie_open]
            some = released.inputs.take(followed(len(pictures)))
            earlier = [restored(rung.network, some, compute) for rung in rungs[:-1]]
        held_out = [rung.figures[0] if rung.figures else None for rung in rungs]
        return {"pictures": pictures, **told(earlier, rungs[-1].steps, held_out)}

    def _ascent(self, attacker: Learning) -> Ascent:
        """In dB over the mean film, of which less than .05 is worth no doubling, wherever that happens."""
        from fedcxr.training.rising import Ascent

        rate = self.learning_rate if attacker in ("unet", "vnet") else self.learning_rate_against
        return Ascent(max(1, round(self.budget * self.steps)), rate, weight_decay=0.0, gain=0.05, chance=0.1, high=0.1)
