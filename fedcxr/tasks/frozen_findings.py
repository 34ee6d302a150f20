"""What is left of findings for networks that have never seen the films: a frozen backbone and one linear layer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.data import cache_folder
from fedcxr.data.phantom import Phantom
from fedcxr.errors import DataError
from fedcxr.methods import RunContext
from fedcxr.metrics import MIN_POSITIVES
from fedcxr.metrics.paired import of_findings
from fedcxr.models import pretrained
from fedcxr.models.architectures import ArchitectureName, named
from fedcxr.plugins import File
from fedcxr.rng import stream
from fedcxr.storage.artefacts import digest_of
from fedcxr.table import Table
from fedcxr.tasks import Bench, Bools, Evidence, Main, Task
from fedcxr.tasks._findings import (
    ARMS,
    Labelled,
    Scored,
    demand_scored,
    figures_of,
    lent,
    released,
    told_of,
    train_and_test,
)
from fedcxr.view import Films

if TYPE_CHECKING:
    from fedcxr.models.frozen import Frozen
    from fedcxr.training.head import Head

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

PUBLIC = 8_411_997  # the seed of the phantoms that a backbone learns from; no scenario of ours has films of this seed
SMALLEST = 16  # pixels along a phantom
AT_ONCE = 1 << 22  # pixels that pass a backbone together

Features = npt.NDArray[np.float32]


class FrozenFindings(Task):
    """A linear layer on what a frozen backbone makes of films: one learns from released and one from clean films.

    Each is tested on both kinds of films. The backbone is ImageNet's, out of a file of the user's, or what public
    phantoms have taught; random weights are taken only where `pretrained: none` says so. Films are cut to their middle
    and brought to the size of ImageNet's films; a network that reads any size is given them as large as they are.

    Features are computed once for each set of films, of the films as they are and mirrored, and kept for other runs: so
    a film is augmented by drawing one of two views, and its crop is always the middle.
    """

    bounds: ClassVar[tuple[str, ...]] = tuple(
        f"{arm}.{figure}" for arm in ARMS for figure in ("mean_auc", "per_finding.*")
    )
    main: ClassVar[Main | None] = Main(
        "frozen.mean_auc",
        "AUC",
        "how well one layer behind a frozen backbone, which learnt from clean films, tells findings of released ones",
    )
    paper: ClassVar[str | None] = "Noise against re-identification in chest X-rays (`frozen`); all others: ours"
    deviations: ClassVar[str | None] = (
        "Adam, early stopping after ten epochs without a lower loss, and a tenth of the training patients held out for "
        "it are ours, where we know of no choice of the paper's. What is cut out is 7/8 of either side, as 224 of 256 "
        "pixels. The default backbone is small and has learnt from phantoms, for no weights come with this package."
    )

    network: ArchitectureName = "narrow"
    width: int = pydantic.Field(default=16, ge=1, description="channels of the narrow network's first layer")
    stride: Literal[2, 4] = pydantic.Field(default=2, description="pixels per step of the narrow network's first layer")
    pretrained: Literal["phantoms", "imagenet", "none"] | File = pydantic.Field(
        default="phantoms",
        description="what the backbone has learnt: of public phantoms, of ImageNet, what is in a safetensors file, or "
        "none: nothing at all",
    )
    people: int = pydantic.Field(default=400, ge=2, description="public phantoms that a backbone learns from")
    steps: int = pydantic.Field(default=1000, ge=1, description="of a backbone that learns from phantoms")
    middle: float = pydantic.Field(default=0.875, gt=0, le=1, description="share of either side that is cut out")
    mirrored: bool = pydantic.Field(default=True, description="whether films are shown mirrored as well, in training")
    epochs: int = pydantic.Field(default=50, ge=1, description="at most")
    batch: int = pydantic.Field(default=32, ge=2)
    learning_rate: float = pydantic.Field(default=1e-3, gt=0)
    patience: int = pydantic.Field(
        default=3, ge=0, description="epochs without a lower loss after which a tenth of the learning rate is left"
    )
    stop: int = pydantic.Field(default=10, ge=1, description="epochs without a lower loss after which learning ends")
    held_out: float = pydantic.Field(
        default=0.1, gt=0, lt=1, description="share of the training patients whose films tell that loss"
    )
    min_positives: int = pydantic.Field(
        default=MIN_POSITIVES, ge=1, description="rarer findings in the test are skipped"
    )
    bootstraps: int = pydantic.Field(default=1000, ge=1)

    def required_files(self) -> tuple[Path, ...]:
        weights = None if self.pretrained == "phantoms" else pretrained.find(self.network, self.pretrained)
        return () if weights is None else (weights,)

    def demand(self, cohort: Cohort) -> None:
        demand_scored(cohort.where("test"), self.min_positives, self.plugin_name())
        train = cohort.where("train")
        if (train.labels == train.labels).any() and not _taught(train.labels).any():
            raise DataError(
                "no finding can be learnt from the films of train: of none are there films with it and films without",
                given=f"{len(train)} films, {len(train.findings)} findings",
                do="more films in train (splits.shares), other findings, or leave frozen_findings out of tasks",
            )

    def foresee(self, cohort: Cohort, bench: Bench) -> None:
        """What the backbone makes of clean films needs no release."""
        if bench.artefacts is None:
            return  # nothing of it would be found again
        with bench.compute.session():
            eyes = _Eyes.of(self, cohort.size, bench)
            eyes.both(cohort.where("train").films())
            eyes.plain(cohort.where("test").films())

    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        train, test = train_and_test(evidence)
        clean = Labelled.of(test)
        pictures = np.asarray(evidence.view.forms["films"], dtype=np.uint8)
        learnt_from, read = (
            released(evidence, pictures, evidence.rows(split) & evidence.view.opened) for split in ("train", "test")
        )
        arms: dict[str, Scored] = {}
        with bench.compute.session():
            eyes = _Eyes.of(self, evidence.cohort.size, bench)
            ceiling = self.train(Labelled.of(train), eyes, bench, "clean")
            arms["raw"] = ceiling.scored(clean, eyes)
            if len(read.labels):
                arms["frozen"] = ceiling.scored(read, eyes)
            if len(learnt_from.labels):
                shared = self.train(learnt_from, eyes, bench, "released")
                own = evidence.own("films", evidence.films("test"), RunContext.on(bench.compute))
                if own is not None:
                    arms["trained"] = shared.scored(
                        Labelled(np.asarray(own, dtype=np.uint8), test.labels, test.patients, test.findings), eyes
                    )
                if len(read.labels):
                    arms["trained_released"] = shared.scored(read, eyes)
            if evidence.unauthorised is not None:
                outside, asked = (lent(evidence, evidence.unauthorised, split) for split in ("train", "test"))
                if len(outside.labels) and len(asked.labels):
                    arms["unauthorised"] = self.train(outside, eyes, bench, "without a key").scored(asked, eyes)
        for arm, one in arms.items():
            bench.keep(f"{arm}.mean_auc", of_findings(one.labels, one.scores, one.patients, self.min_positives))
        return {arm: self._figures(arms[arm], bench.seed) if arm in arms else None for arm in ARMS}

    def train(self, films: Labelled, eyes: _Eyes, bench: Bench, stage: str) -> _Reader:
        """A linear layer on what the backbone makes of these films."""
        from fedcxr.training.head import Recipe, teach

        known = ~np.isnan(films.labels).all(axis=1)
        held_out = self._held_out(films.patients[known], bench.seed)
        taught = _taught(films.labels[known][~held_out])
        recipe = Recipe(self.epochs, self.batch, self.learning_rate, self.patience, self.stop)
        rng = stream(bench.seed, "frozen findings", "batches")
        progress = partial(bench.progress, f"frozen findings {stage}")
        features = eyes.both(np.asarray(films.inputs, dtype=np.uint8)[known])
        return _Reader(teach(features, films.labels[known], held_out, recipe, rng, bench.compute, progress), taught)

    def table(self, figures: Mapping[str, Any]) -> Table:
        return told_of(figures, "How useful to a frozen backbone with one layer: mean AUC of the findings")

    def _held_out(self, patients: npt.NDArray[np.object_], seed: int) -> Bools:  # (n,)
        """The films of training that tell when to stop: those of some patients."""
        people, owner = np.unique(patients, return_inverse=True)
        if len(people) < 2:
            raise DataError(
                "one linear layer learns from some patients and stops by others",
                given=f"{len(people)} patients in train whose findings are known",
                allowed="2 or more",
                do="use a larger cohort",
            )
        # In the order in which they come first, which is the same whatever they are called.
        first = np.full(len(people), len(patients))
        np.minimum.at(first, owner, np.arange(len(patients)))
        place = np.argsort(np.argsort(first))
        number = min(max(1, round(self.held_out * len(people))), len(people) - 1)
        chosen = stream(seed, "frozen findings", "held out").permutation(len(people))[:number]
        return np.isin(place[owner], chosen)

    def _figures(self, one: Scored, seed: int) -> dict[str, Any]:
        # The same draws of patients in every arm, so that arms can be compared.
        return figures_of(one, stream(seed, "frozen findings", "bootstrap"), self.bootstraps, self.min_positives)


def _taught(labels: npt.NDArray[np.float32]) -> Bools:  # (k,)
    """Of which findings there are films with it and films without."""
    return np.asarray((labels == 1).any(axis=0) & (labels == 0).any(axis=0))


class _Reader:
    """A linear layer, and what it was taught."""

    def __init__(self, head: Head, taught: Bools) -> None:
        self.head = head
        self.taught = taught  # (k,)

    def scored(self, films: Labelled, eyes: _Eyes) -> Scored:
        """What it says of films; of findings that it was never shown, or shown on every film, nothing is scored."""
        labels = np.where(self.taught, films.labels, np.float32(np.nan))
        scores = self.head.scores(eyes.plain(np.asarray(films.inputs, dtype=np.uint8)))
        return Scored(labels, scores, films.patients, films.findings)


class _Eyes:
    """A backbone at work: what it makes of films, found on file where it has seen the same films before."""

    def __init__(self, task: FrozenFindings, seen: tuple[Frozen, ...], bench: Bench) -> None:
        from fedcxr.training import arrays_of

        self.task, self.bench = task, bench
        self._seen = seen  # plain, and mirrored
        self._known: dict[tuple[bool, str], Features] = {}  # by whether they were mirrored, and the films' digest
        weights = arrays_of(seen[0].backbone)
        told = "".join(f"{name} {digest_of(array)}\n" for name, array in sorted(weights.items()))
        self._digest = hashlib.sha256(told.encode()).hexdigest()

    @classmethod
    def of(cls, task: FrozenFindings, size: tuple[int, int], bench: Bench) -> _Eyes:
        """The task's backbone, which learns from phantoms of about this size if it is to."""
        from fedcxr.models.backbone import Design
        from fedcxr.models.classifier import classifier, taught
        from fedcxr.models.frozen import Frozen
        from fedcxr.training import to_device

        if task.pretrained == "phantoms":
            design = Design(task.network, task.width, task.stride)
            learnt = _learnt_from_phantoms(task, max(*size, SMALLEST), bench)
            network = taught(design, len(learnt["head.bias"]), learnt)
        else:
            design = Design(task.network, task.width, task.stride, task.pretrained)
            network = classifier(design, 1, stream(bench.seed, "frozen findings", "weights"))
        backbone = to_device(network.backbone, bench.compute).eval()
        side = named(task.network).side
        views = (False, True) if task.mirrored else (False,)
        return cls(task, tuple(Frozen(backbone, task.middle, side, mirrored) for mirrored in views), bench)

    def both(self, films: Films) -> Features:  # (views, n, f)
        """Of films to learn from."""
        return np.stack([self._features(seen, films) for seen in self._seen])

    def plain(self, films: Films) -> Features:  # (n, f)
        """Of films to be read."""
        return self._features(self._seen[0], films)

    def _features(self, seen: Frozen, films: Films) -> Features:
        own = (seen.mirrored, digest_of(films))
        if own not in self._known:
            self._known[own] = self._found(seen, films, own[1])
        return self._known[own]

    def _found(self, seen: Frozen, films: Films, digest: str) -> Features:
        from fedcxr.training import predict

        def made() -> dict[str, npt.NDArray[np.generic]]:
            side = seen.side or max(films.shape[1:])
            return {"features": predict(seen, films, self.bench.compute, max(1, AT_ONCE // side**2))}

        if self.bench.artefacts is None:
            return np.asarray(made()["features"], dtype=np.float32)
        key = self.bench.artefacts.key(
            "features",
            network=self.task.network,
            backbone=self._digest,
            films=digest,
            middle=self.task.middle,
            side=seen.side,
            mirrored=seen.mirrored,
            compute=self.bench.compute.settings,
        )
        return np.asarray(self.bench.artefacts.made(key, made)["features"], dtype=np.float32)


def _learnt_from_phantoms(task: FrozenFindings, size: int, bench: Bench) -> Mapping[str, npt.NDArray[np.generic]]:
    """A classifier of phantoms that belong to nobody: the same for every run, whatever its seed."""
    from fedcxr.models.backbone import Design
    from fedcxr.models.classifier import classifier
    from fedcxr.training import arrays_of, to_device
    from fedcxr.training.classifier import Recipe, teach

    phantoms = Phantom(patients=task.people, size=size, seed=PUBLIC)

    def made() -> dict[str, npt.NDArray[np.generic]]:
        films = phantoms.open(cache_folder())
        rng = stream(PUBLIC, "frozen findings", "phantoms")
        network = classifier(Design(task.network, task.width, task.stride), films.labels.shape[1], rng)
        network = to_device(network, bench.compute)
        progress = partial(bench.progress, "frozen findings backbone")
        teach(network, films.films(), films.labels, Recipe(task.steps), rng, bench.compute, progress)
        return arrays_of(network)

    if bench.artefacts is None:
        return made()
    parameters = {name: getattr(task, name) for name in ("network", "width", "stride", "steps")}
    key = bench.artefacts.key("backbone", **parameters, films=phantoms.spec(), compute=bench.compute.settings)
    return bench.artefacts.made(key, made)
