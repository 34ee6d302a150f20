"""How well can findings be learnt from releases, and read off released films?"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import SPLITS
from fedcxr.errors import DataError
from fedcxr.methods import Form
from fedcxr.metrics import MIN_POSITIVES, finding_aucs
from fedcxr.metrics.bootstrap import mean_auc_interval
from fedcxr.models import pretrained
from fedcxr.rng import stream
from fedcxr.tasks import Evidence, Progress, Task

if TYPE_CHECKING:
    from fedcxr.models.classifier import Classifier
    from fedcxr.training.compute import Compute

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

Films = npt.NDArray[np.uint8]  # (n, h, w)
Inputs = Films | npt.NDArray[np.int8]  # films, or codes (n, c, h, w)
Labels = npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN
ARMS = ("trained", "trained_released", "frozen", "raw", "unauthorised")


class Findings(Task):
    """Two classifiers, one trained on released and one on clean films, are each tested on both kinds of films.

    Both start from the same weights and see the same films in the same order for the same number of steps:
    what differs between their figures is the method's doing. Where there are keys, `unauthorised` is a third one,
    trained and tested on what the releases look like to somebody without any.
    """

    paper: ClassVar[str | None] = "Packhaeuser et al., MICCAI 2023 (`frozen`); all others: ours"

    on: Literal["films", "purified", "codes"] = pydantic.Field(
        default="films",
        description="what is trained on: films (as their recipient sees them), purified codes, or codes as published",
    )
    network: Literal["narrow", "resnet50", "densenet121"] = "narrow"
    width: int = pydantic.Field(default=16, ge=1, description="channels of the narrow network's first layer")
    stride: Literal[2, 4] = pydantic.Field(
        default=2, description="pixels per step of the narrow network's first layer: 2 sees more, 4 is faster"
    )
    pretrained: str = pydantic.Field(default="none", description="none, imagenet or a safetensors file")
    steps: int = pydantic.Field(default=1000, ge=1)
    batch: int = pydantic.Field(default=32, ge=2)
    learning_rate: float = pydantic.Field(default=4e-3, gt=0)
    weight_decay: float = pydantic.Field(default=0.05, ge=0)
    shift: int = pydantic.Field(default=2, ge=0, description="augmentation: films are moved by up to so many pixels")
    smoothing: float = pydantic.Field(
        default=0.1, ge=0, lt=1, description="labels are drawn towards one half by so much"
    )
    rare: float = pydantic.Field(default=3.0, ge=1, description="a rare finding's films count at most so many times")
    min_positives: int = pydantic.Field(
        default=MIN_POSITIVES, ge=1, description="rarer findings in the test are skipped"
    )
    bootstraps: int = pydantic.Field(default=1000, ge=1)

    @pydantic.model_validator(mode="after")
    def _network_for_codes(self) -> Findings:
        if self.on == "codes" and self.network != "narrow":
            raise ValueError(f"network: {self.network} reads films; codes as published need `narrow`")
        return self

    @property
    def form(self) -> Form:
        return self.on

    def applies(self, evidence: Evidence) -> bool:
        return self.on == "codes" or super().applies(evidence)

    def needs(self) -> tuple[Path, ...]:
        weights = pretrained.find(self.network, self.pretrained)
        return () if weights is None else (weights,)

    def measure(self, evidence: Evidence, seed: int, compute: Compute, progress: Progress) -> dict[str, Any]:
        from fedcxr.training import predict

        train, test = (evidence.split == SPLITS.index(split) for split in ("train", "test"))
        if not train.any() or not test.any():
            raise DataError(
                "findings need films to train on and films to test on",
                given=f"{train.sum()} and {test.sum()}",
                do="use a larger cohort",
            )
        released, own, opened = self._inputs(evidence)
        seen, shown = train & opened, test & opened
        clean, labels = evidence.clean, evidence.labels
        with compute.session():
            shared = self.train(released[seen], labels[seen], seed, compute, progress, "released")
            # The same bytes would train the same classifier again.
            unprotected = np.array_equal(seen, train) and np.array_equal(released[train], clean[train])
            ceiling = (
                shared if unprotected else self.train(clean[train], labels[train], seed, compute, progress, "clean")
            )
            tested = {"trained_released": (shown, predict(shared, released[shown], compute))}
            if own is not None:
                tested["trained"] = (test, predict(shared, own[test], compute))
            if self.on == "films":
                tested["frozen"] = (shown, predict(ceiling, released[shown], compute))
            tested["raw"] = (test, predict(ceiling, clean[test], compute))
            if evidence.unauthorised is not None:
                outside = self._outside(evidence.unauthorised, labels, train, test, seed, compute, progress)
                tested["unauthorised"] = (test, outside)
        figures = {
            arm: self._figures(labels[rows], scores, evidence.patients[rows], evidence.findings, seed)
            for arm, (rows, scores) in tested.items()
        }
        return {arm: figures.get(arm) for arm in ARMS}

    def _inputs(self, evidence: Evidence) -> tuple[Inputs, Inputs | None, npt.NDArray[np.bool_]]:
        """What a classifier is trained on, what a hospital has of its own films to use it on, and which are open."""
        if self.on == "films":
            return evidence.released, evidence.clean, evidence.opened
        if self.on == "purified":
            return evidence.codes["purified"], evidence.codes["clean"], evidence.opened
        return evidence.codes["public"], None, np.ones_like(evidence.opened)

    def _outside(
        self,
        pictures: Films,
        labels: Labels,
        train: npt.NDArray[np.bool_],
        test: npt.NDArray[np.bool_],
        seed: int,
        compute: Compute,
        progress: Progress,
    ) -> npt.NDArray[np.float32]:
        """What somebody without a key reads off pictures like those they learnt from."""
        from fedcxr.training import predict

        if (pictures == pictures[:1]).all():  # nothing to learn, and nothing to read
            return np.zeros((int(test.sum()), labels.shape[1]), dtype=np.float32)
        network = self.train(pictures[train], labels[train], seed, compute, progress, "without a key")
        return predict(network, pictures[test], compute)

    def train(
        self, films: Inputs, labels: Labels, seed: int, compute: Compute, progress: Progress, stage: str
    ) -> Classifier:
        """A classifier of the findings `labels` (n, k) on `films`, or on codes."""
        from fedcxr.models.backbone import Design
        from fedcxr.models.classifier import classifier
        from fedcxr.training import place
        from fedcxr.training.classifier import Recipe, teach

        channels = films.shape[1] if films.ndim == 4 else 1
        placed = channels > 1 and self.on == "purified"
        design = Design(self.network, self.width, self.stride, self.pretrained, channels, placed)
        network = place(classifier(design, labels.shape[1], stream(seed, "findings", "weights")), compute)
        how = self.model_dump(include={field.name for field in dataclasses.fields(Recipe)})
        rng = stream(seed, "findings", "batches")
        teach(network, films, labels, Recipe(**how), rng, compute, partial(progress, f"findings {stage}"))
        return network

    def _figures(
        self,
        labels: Labels,
        scores: npt.NDArray[np.float32],  # (n, k)
        patients: npt.NDArray[np.object_],
        findings: tuple[str, ...],
        seed: int,
    ) -> dict[str, Any]:
        aucs = finding_aucs(labels, scores, findings, self.min_positives)
        # The same draws of patients in every arm, so that arms can be compared.
        rng = stream(seed, "findings", "bootstrap")
        intervals = mean_auc_interval(labels, scores, patients, rng, self.bootstraps, min_positives=self.min_positives)
        positives = (labels == 1).sum(axis=0)
        return {
            "mean_auc": _figure(aucs.mean_auc, intervals.mean_auc),
            "per_finding": {
                name: None
                if aucs.per_finding[name] is None
                else {**_figure(aucs.per_finding[name], interval), "positives": int(count)}
                for name, interval, count in zip(findings, intervals.per_finding, positives, strict=True)
            },
            "skipped": list(aucs.skipped),
        }


def _figure(value: float | None, interval: tuple[float, float] | None) -> dict[str, Any]:
    return {"value": value, "ci95": None if interval is None else list(interval)}
