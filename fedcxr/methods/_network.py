"""Ways of sharing a classifier of findings that hospitals train where their films are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.context import RunContext
from fedcxr.errors import ConfigError
from fedcxr.learning import Beginning, Learning, Report
from fedcxr.learning.bounds import STATISTICS, check_alike, check_weights
from fedcxr.learning.strategies import Name
from fedcxr.methods._model import ModelMethod
from fedcxr.models.architectures import ArchitectureName
from fedcxr.models.options import Comorbidity, Scanners, places_of
from fedcxr.plugins import File
from fedcxr.view import Films, Weights

if TYPE_CHECKING:
    from fedcxr.models.backbone import Design
    from fedcxr.models.classifier import Classifier
    from fedcxr.models.normalisation import Norm
    from fedcxr.training import Plan
    from fedcxr.training.compute import Compute
    from fedcxr.training.label_noise import Correction
    from fedcxr.training.one_step import OneStep

BATCHES = "num_batches_tracked"  # nothing is computed with it, and it tells how many batches a site has


class NetworkMethod(ModelMethod):
    """All sites train one network in rounds; how a site trains is the method's own business."""

    rounds: int = pydantic.Field(40, ge=1, le=10_000)
    strategy: Name = pydantic.Field("fedavg", description="one of Flower's, by name")
    options: dict[Annotated[str, pydantic.Field(pattern="^[a-z_0-9]+$")], int | float] = pydantic.Field(
        {}, description="of the strategy: proximal_mu, eta, beta, ..."
    )
    participation: float = pydantic.Field(
        1.0, gt=0, le=1, description="share of the sites that learn in a round; the seed chooses which"
    )
    sealed: bool = pydantic.Field(
        False, description="each site's update under a key that it gives the coordinator: nobody on the way reads it"
    )
    network: ArchitectureName = "narrow"
    width: int = pydantic.Field(16, ge=1, le=1024, description="channels of the narrow network's first layer")
    stride: Literal[2, 4] = pydantic.Field(2, description="pixels per step of the narrow network's first layer")
    start: Literal["scratch", "public"] | File = pydantic.Field(
        "scratch",
        description="where learning begins: scratch, what the same network learns from the films under `public`, or a "
        "safetensors file that an earlier run has left in learnt/",
    )
    steps: int = pydantic.Field(10, ge=1, le=100_000, description="of each site in each round")
    batch: int = pydantic.Field(32, ge=1, le=4096)
    shift: int = pydantic.Field(2, ge=0, description="augmentation: films are moved by up to so many pixels")
    smoothing: float = pydantic.Field(0.1, ge=0, lt=1, description="labels are drawn towards one half by so much")
    normalise: Scanners = "none"
    comorbidity: Comorbidity = False

    @pydantic.model_validator(mode="after")
    def _of_a_strategy(self) -> Self:
        try:
            _ = self.learning
        except ConfigError as error:
            raise ValueError(f"strategy and options: {error}") from None
        return self

    @property
    def learning(self) -> Learning:
        begins: Beginning = "public" if self.start == "public" else "anew"
        return Learning("federated", self.rounds, self.strategy, self.options, self.participation, begins)

    @property
    def seals_updates(self) -> bool:
        return self.sealed

    @property
    def normalised(self) -> Norm:
        """How the network is."""
        return "batch"

    @property
    def keeps_statistics(self) -> bool:
        """Whether means and variances of a site's films stay at the site."""
        return False

    @property
    def steps_of_start(self) -> int:
        """Taken on public films: as many as one site takes in all rounds together."""
        return self.rounds * self.steps

    def required_files(self) -> tuple[Path, ...]:
        if not isinstance(self.start, File):
            return ()
        if not Path(self.start).is_file():
            raise ConfigError(
                "learning starts neither from scratch nor from public films, and there is no such file",
                given=f"start: {self.start.name}",
                allowed="scratch, public, or a file that an earlier run has left in learnt/",
            )
        return (Path(self.start),)

    def initial(self, rng: np.random.Generator) -> Weights:
        from fedcxr.models.classifier import classifier

        network = classifier(self._design, len(self.findings), rng, comorbid=self.comorbidity, places=self._places)
        fresh = self._shared(network)
        return _read(self.start, fresh) if isinstance(self.start, File) else fresh

    def begun(self, public: Cohort, rng: np.random.Generator, context: RunContext, start: Weights) -> Weights:
        """By plain training, with nothing to protect."""
        from fedcxr.training.classifier import Recipe, teach

        self.demand(public)
        recipe = Recipe(self.steps_of_start, self.batch, shift=self.shift, smoothing=self.smoothing)
        with context.compute.session():
            network = self._loaded(start, context.compute)
            progress = partial(context.progress, "public films")
            teach(network, public.films(), self.labels(public), recipe, rng, context.compute, progress)
        return self._shared(network)

    def single(self, films: int) -> Self:
        """The same method at its least: one step on so many films at once, none of which is moved."""
        return self.model_copy(update={"steps": 1, "batch": films, "shift": 0})

    def update(self, batch: Cohort, start: Weights, rng: np.random.Generator, context: RunContext) -> Weights:
        """After a single step, on all of them at once: nobody could be told more of a film."""
        return self.single(len(batch)).learn(batch, rng, context, start)

    @property
    def first_step(self) -> Plan | None:
        """How far `update` goes, and with which optimiser; None: the method does not say."""
        return None

    def one_step(
        self, start: Weights, labels: npt.NDArray[np.float32], size: tuple[int, int], compute: Compute
    ) -> OneStep | None:
        """The step that `update` takes, for whoever knows all but the films; None: the method does not say."""
        from fedcxr.training.one_step import Hidden, OneStep

        plan = self.first_step
        if plan is None:
            return None
        correction, network = self.correction(labels, compute), self._loaded(start, compute)
        hidden = Hidden.of(network, labels, self.annotations, size, compute) if self.annotations else None
        return OneStep.of(network, labels, self.smoothing, plan, compute, correction=correction, hidden=hidden)

    def correction(self, labels: npt.NDArray[np.float32], compute: Compute) -> Correction | None:
        """What the loss is told of how often these labels are right; None: they are taken for right."""
        return None

    def predict(self, films: Films, weights: Weights, context: RunContext) -> npt.NDArray[np.float32]:
        from fedcxr.training import predict
        from fedcxr.training.statistics import estimate

        compute = context.compute
        with compute.session():
            network = self._loaded(weights, compute)
            if self.keeps_statistics:
                estimate(network, films, compute)
            return predict(network, films, compute)

    def most_rounds(self, reported: Sequence[Report]) -> int:
        """In how many rounds the site learnt that learnt in most; without a run, in all."""
        turns = Counter(report.site for report in reported)
        return max(turns.values(), default=self.rounds)

    @property
    def _design(self) -> Design:
        from fedcxr.models.backbone import Design

        return Design(self.network, self.width, self.stride, norm=self.normalised, normalise=self.normalise)

    @property
    def _places(self) -> int:
        """How many things' places heads of the network learn.

        Heads are shared with the rest, small as they are: one that began anew in each turn would pull at all layers
        below it before it had learnt where anything is.
        """
        return places_of(self.annotations, len(self.findings))

    def _loaded(self, weights: Weights, compute: Compute) -> Classifier:
        """The network with what was learnt; statistics that stayed elsewhere are those of no films."""
        from fedcxr.models.classifier import taught
        from fedcxr.training import to_device

        network = taught(self._design, len(self.findings), weights, comorbid=self.comorbidity, places=self._places)
        return to_device(network, compute)

    def _shared(self, network: Classifier) -> Weights:
        """What of a network is shared."""
        from fedcxr.training import arrays_of

        kept_back = (BATCHES, *(STATISTICS if self.keeps_statistics else ()))
        return {name: array for name, array in arrays_of(network).items() if not name.endswith(kept_back)}


def _read(file: File, alike: Weights) -> Weights:
    """Weights that an earlier run has left, refused unless they are of this network."""
    from fedcxr.storage.checkpoint import Checkpoint

    found: Mapping[str, npt.NDArray[np.generic]] = Checkpoint.read(Path(file)).arrays
    check_alike(found, alike, f"the file {file.name}")
    check_weights(found, f"the file {file.name}")
    return dict(found)
