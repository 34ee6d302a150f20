"""Methods whose generator of films learns against a classifier and a verifier (Packhaeuser et al., MICCAI 2023)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.learning import Learning, Place
from fedcxr.methods import FilmMethod, Films, Protect, Round, RunContext, Weights, to_eight_bits
from fedcxr.methods import _generator as generators
from fedcxr.models import pretrained
from fedcxr.models.architectures import ArchitectureName, named
from fedcxr.plugins import File
from fedcxr.storage.checkpoint import digest, fingerprint
from fedcxr.storage.version import versions

if TYPE_CHECKING:
    from torch import nn

    from fedcxr.methods._adversarial_training import AdversarialTraining
    from fedcxr.training.compute import Compute
    from fedcxr.training.schedule import ResumableSchedule, Stage

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

DEVIATIONS = (
    "All networks step at once, from one forward pass. "
    "The verifier learns by softmax over all partners in the batch plus balanced cross-entropy, not from one label per "
    "pair. Pairs are of one patient and new in every batch; half of a batch are films of anybody. The classifier sees "
    "films at their own size. An unknown finding has no loss. The generator kept is the running mean over the "
    "adversarial steps, never the one that a validation loss would choose: that is lowest when the verifier happens to "
    "be weak. "
    "Defaults are small networks that a CPU trains in seconds; the paper's come with --preset paper."
)
AT_ONCE = 1 << 21  # pixels that pass a generator together: 512 films of 64 px, 32 of 256 px


class Adversarial(FilmMethod):
    """What both methods have in common: who learns against whom, where, and for how long."""

    fit: Place = pydantic.Field(
        default="local",
        description="who trains: each hospital its own generator, all together, or the coordinator on public films",
    )
    rounds: int = pydantic.Field(default=8, ge=1, le=1000, description="of a federation, which share out `steps`")
    weights: File | None = pydantic.Field(
        default=None, description="a safetensors file of an earlier training, to be used instead of learning"
    )
    against: Literal["both", "classifier", "verifier"] = pydantic.Field(
        default="both", description="whom the generator learns against; one alone is an ablation"
    )
    widths: tuple[Annotated[int, pydantic.Field(ge=1, le=4096)], ...] = pydantic.Field(
        default=(16, 32, 64), min_length=1, max_length=8, description="channels of the generator, level by level"
    )
    cell: int = pydantic.Field(
        default=2,
        ge=1,
        le=16,
        description="side of the cells that the generator reads and writes: 1 sees more, 4 is fast",
    )
    classifier: ArchitectureName = "narrow"
    verifier: ArchitectureName = "narrow"
    width: int = pydantic.Field(default=16, ge=1, le=4096, description="channels of a narrow network's first layer")
    stride: Literal[2, 4] = pydantic.Field(default=4, description="pixels per step of a narrow network's first layer")
    pretrained: Literal["none", "imagenet"] = pydantic.Field(
        default="none", description="where classifier and verifier start, unless they are narrow"
    )
    dimensions: int = pydantic.Field(default=128, ge=1, le=65536, description="length of the verifier's embedding")
    sharpness: float = pydantic.Field(default=8.0, gt=0, le=1000, description="of the verifier's softmax")
    batch: int = pydantic.Field(default=16, ge=4, le=65536)
    shift: int = pydantic.Field(default=1, ge=0, le=256, description="films are moved by up to so many pixels")
    steps_classifier: int = pydantic.Field(default=200, ge=0, le=10**9, description="alone, on real films")
    steps_verifier: int = pydantic.Field(default=200, ge=0, le=10**9, description="alone, on real films")
    steps: int = pydantic.Field(default=170, ge=1, le=10**9, description="of all networks together")
    learning_rate: float = pydantic.Field(default=3e-3, gt=0, le=10, description="of the generator")
    learning_rate_alone: float = pydantic.Field(default=4e-3, gt=0, le=10, description="of the others on real films")
    learning_rate_against: float = pydantic.Field(default=3e-4, gt=0, le=10, description="of the others thereafter")
    weight_decay: float = pydantic.Field(default=0.05, ge=0, le=10, description="of classifier and verifier")
    average: float = pydantic.Field(default=0.95, ge=0, lt=1, description="decay of the generator's running mean")

    @abstractmethod
    def generator(self) -> nn.Module:
        """The generator, not yet initialised: films (n, 1, h, w) in [0, 1] in, and out."""

    @abstractmethod
    def untrained(self, rng: np.random.Generator) -> nn.Module:
        """The generator ready to be trained."""

    def _autoencoding(self) -> int:
        """For how many steps the generator first learns to give back what it is shown."""
        return 0

    @property
    def learning(self) -> Learning:
        place = self.fit if self.weights is None else "local"
        return Learning(place, self.rounds if place == "federated" else 1)

    def initial(self, rng: np.random.Generator) -> Weights:
        return generators.arrays_of(self.untrained(rng), generators.ANY_SIZE)

    def on_smoke_budget(self) -> Self:
        """The same method with hardly any training: for tests of everything else."""
        few = {name: 2 for name in type(self).model_fields if name.startswith("steps")}
        return self.model_copy(update=few)

    def required_files(self) -> tuple[Path, ...]:
        both = {"classifier": self.classifier, "verifier": self.verifier}
        opponents = [network for name, network in both.items() if self.against in (name, "both")]
        bought = [network for network in opponents if named(network).imagenet] or opponents
        files = [pretrained.find(network, self.pretrained) for network in bought]
        if self.weights is not None:
            generators.check_facts(Path(self.weights), self._facts())
            files.append(Path(self.weights))
        return tuple(file for file in files if file is not None)

    # Learning ---------------------------------------------------------------------------------------------------------

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008
    ) -> Weights:
        """The generator's weights. Its opponents stay here, in the context's folder if there is one."""
        if self.weights is not None:
            start = generators.fetch(Path(self.weights), self._facts())
        if start is not None:
            generators.check_size(start, cohort.size)
            generators.network_of(self.generator, start)
            if self.weights is not None:
                return start
        if not self._enough(cohort):
            if start is not None and turn.of > 1:
                return dict(start)  # too small to teach the others anything, it takes part with what it was given
            raise DataError(
                "the generator has too few patients to learn from",
                given=f"{len(cohort)} films of {len(set(cohort.patients))} patients",
                allowed="two patients or more, two of them with two films or more unless against is classifier",
                do="set fit to federated or public, or give weights",
            )
        compute = context.compute
        with compute.session():
            schedule = self._schedule(cohort, rng, context, compute, start, turn)
            schedule.run()
            learnt = generators.arrays_of(schedule.networks["generator"], cohort.size)
        generators.refuse_nan(learnt)
        return learnt

    def save(self, weights: Weights, path: Path) -> None:
        generators.keep(path, weights, self._facts())

    def _schedule(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        compute: Compute,
        start: Weights | None,
        turn: Round,
    ) -> ResumableSchedule:
        """The networks and their stages, taken as far as an interrupted training took them."""
        from fedcxr.training.schedule import Folder, ResumableSchedule

        hardware = list(compute.settings)
        settings = [versions([type(self)]), self.spec(), _films(cohort), *hardware, turn.of]
        given = [turn.number, rng.bit_generator.state, None if start is None else digest(start)]
        folder = Folder(context.folder, fingerprint(*settings), fingerprint(*settings, *given))
        own, last = folder.of(turn.number), folder.before(turn.number)
        folder.tidy(turn.number)
        training = self._training(cohort, rng, compute, start)
        alone = last is None if own is None else bool(own.facts["alone"])
        schedule = ResumableSchedule(
            networks=training.networks(),
            stages=self._stages(training, turn, alone, trained=start is not None and (turn.of == 1 or turn.number > 0)),
            rng=rng,
            progress=lambda stage, done, total: context.progress(f"{self.plugin_name()} {stage}", done, total),
            path=folder.path(turn.number),
            facts={**folder.facts, "alone": alone},
        )
        if own is not None:
            schedule.resume(own)
        elif last is not None:
            schedule.adopt(last, [name for name in schedule.networks if name != "generator"])
        return schedule

    def _training(
        self, cohort: Cohort, rng: np.random.Generator, compute: Compute, start: Weights | None
    ) -> AdversarialTraining:
        from fedcxr.methods._adversarial_training import AdversarialTraining, Batches
        from fedcxr.models.backbone import Design
        from fedcxr.models.classifier import classifier
        from fedcxr.models.siamese import siamese
        from fedcxr.training import to_device

        def design(architecture: str) -> Design:
            bought = self.pretrained if named(architecture).imagenet else "none"
            return Design(architecture, self.width, self.stride, bought)

        generator = self.untrained(rng) if start is None else generators.network_of(self.generator, start)
        classifier_network = verifier_network = None
        if self.against in ("both", "classifier"):
            classifier_network = to_device(classifier(design(self.classifier), len(cohort.findings), rng), compute)
        if self.against in ("both", "verifier"):
            verifier_network = to_device(siamese(design(self.verifier), self.dimensions, rng), compute)
        batches = Batches(cohort, self.batch, self.shift, compute, rng)
        return AdversarialTraining(
            to_device(generator, compute), classifier_network, verifier_network, batches, self.sharpness
        )

    def _stages(self, training: AdversarialTraining, turn: Round, alone: bool, trained: bool) -> tuple[Stage, ...]:
        from fedcxr.training import Plan
        from fedcxr.training.schedule import Stage

        opponents = [name for name in training.networks() if name != "generator"]
        stages = []
        if self._autoencoding() and not trained:
            plan = Plan(self._autoencoding(), self.learning_rate, weight_decay=0.0)
            stages.append(Stage("autoencoder", training.autoencode, {"generator": plan}))
        if alone:
            steps = {
                "classifier": (self.steps_classifier, training.classify),
                "verifier": (self.steps_verifier, training.verify),
            }
            for name in opponents:
                plan = Plan(steps[name][0], self.learning_rate_alone, self.weight_decay)
                stages.append(Stage(name, steps[name][1], {name: plan}))
        plans = {"generator": Plan(self.steps, self.learning_rate, weight_decay=0.0)}
        plans |= {name: Plan(self.steps, self.learning_rate_against, self.weight_decay) for name in opponents}
        begin, end = (self.steps * number // turn.of for number in (turn.number, turn.number + 1))
        stages.append(Stage("against", training.adversarial_step, plans, ("generator", self.average), begin, end))
        return tuple(stages)

    def _enough(self, cohort: Cohort) -> bool:
        films = np.unique(cohort.patients, return_counts=True)[1]
        return len(films) > 1 and (self.against == "classifier" or (films > 1).sum() > 1)

    # Releasing --------------------------------------------------------------------------------------------------------

    def protector(self, weights: Weights, context: RunContext) -> Protect:
        import torch

        from fedcxr.training import to_device, to_tensor

        compute = context.compute
        network = to_device(generators.network_of(self.generator, weights), compute).eval()

        def protect(films: Films, rng: np.random.Generator) -> Films:
            generators.check_size(weights, films.shape[1:])
            protected = np.empty_like(films)
            with compute.session(), torch.inference_mode(), compute.autocast():
                for some in in_parts(films):
                    shown = network(to_tensor(films[some].copy(), compute))  # the hospital's own are read-only
                    protected[some] = to_eight_bits(shown.float().squeeze(1).cpu().numpy())
            return protected

        return protect

    def _facts(self) -> dict[str, Any]:
        """What weights in a file must be of."""
        return {"method": self.plugin_name(), "widths": list(self.widths), "cell": self.cell}


def in_parts(films: Films) -> Iterator[slice]:
    """The films that pass a generator together, one part after another."""
    at_once = max(1, AT_ONCE // films[0].size) if len(films) else 1
    for first in range(0, len(films), at_once):
        yield slice(first, first + at_once)


def _films(cohort: Cohort) -> str:
    """Which films these are; reading all their pixels would take longer than it is worth."""
    names = cohort.index["image"].astype(str).tolist()
    return fingerprint(cohort.size, cohort.findings, names, cohort.labels.tobytes().hex())
