"""How well can findings be learnt from releases, and read off released films?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.errors import DataError
from fedcxr.methods import Form, Workshop
from fedcxr.metrics import MIN_POSITIVES, finding_aucs
from fedcxr.metrics.bootstrap import mean_auc_interval
from fedcxr.models import pretrained
from fedcxr.rng import stream
from fedcxr.table import Row, Table, figure, span
from fedcxr.tasks import Bools, Evidence, Progress, Task
from fedcxr.view import Films

if TYPE_CHECKING:
    from torch import Tensor

    from fedcxr.models.classifier import Classifier
    from fedcxr.training.compute import Compute

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

Inputs = Films | npt.NDArray[np.int8]  # films, or codes (n, c, h, w)
Labels = npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN
Patients = npt.NDArray[np.object_]  # (n,)

# What people are told of each arm, in this order; `result.json` has them in the order of ARMS.
LEVELS = {
    "raw": "trained and used on clean films: the ceiling",
    "frozen": "trained on clean films, used on released ones",
    "trained": "trained on releases, used on clean films",
    "trained_released": "trained on releases, used on released films",
    "unauthorised": "trained and used on what shows without a key",
}
ARMS = ("trained", "trained_released", "frozen", "raw", "unauthorised")


class Lesson(NamedTuple):
    """What is shared, in the form that a classifier reads."""

    inputs: Inputs  # (n, ...)
    labels: Labels
    seen: Bools  # (n,) to learn from
    shown: Bools  # (n,) to be read


@dataclass(frozen=True)
class Scored:
    """What a classifier said of some films."""

    labels: Labels
    scores: npt.NDArray[np.float32]  # (n, k)
    patients: Patients  # for intervals


def _same(lesson: Lesson, clean: Films, labels: Labels) -> bool:
    """Whether what there is to learn from is the clean films themselves."""
    return np.array_equal(lesson.inputs[lesson.seen], clean) and np.array_equal(
        lesson.labels[lesson.seen], labels, equal_nan=True
    )


class Findings(Task):
    """Two classifiers, one trained on released and one on clean films, are each tested on both kinds of films.

    Both start from the same weights and see the same films in the same order for the same number of steps:
    what differs between their figures is the method's doing. Where there are keys, `unauthorised` is a third one,
    trained and tested on what the releases look like to somebody without any.
    """

    paper: ClassVar[str | None] = "Packhaeuser et al., MICCAI 2023 (`frozen`); all others: ours"

    on: Form = pydantic.Field(
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
        return self.on in ("codes", "model") or super().applies(evidence)

    def needs(self) -> tuple[Path, ...]:
        weights = pretrained.find(self.network, self.pretrained)
        return () if weights is None else (weights,)

    def measure(self, evidence: Evidence, seed: int, compute: Compute, progress: Progress) -> dict[str, Any]:
        from fedcxr.training import predict

        learnable, tested = evidence.films("train"), evidence.films("test")
        if not learnable.any() or not tested.any():
            raise DataError(
                "findings need films to train on and films to test on",
                given=f"{learnable.sum()} and {tested.sum()}",
                do="use a larger cohort",
            )
        clean, known = evidence.clean, evidence.cohort.labels
        scores: dict[str, Scored] = {}

        def tell(arm: str, network: Classifier, inputs: Inputs, labels: Labels, patients: Patients) -> None:
            scores[arm] = Scored(labels, predict(network, inputs, compute), patients)

        at_home = known[tested], evidence.cohort.patients[tested]
        with compute.session():
            lesson = self._lesson(evidence)
            shared = None
            if lesson is not None:
                inputs, labels, seen, shown = lesson
                shared = self.train(inputs[seen], labels[seen], seed, compute, progress, "released")
            # The same bytes would train the same classifier again.
            if lesson is not None and shared is not None and _same(lesson, clean[learnable], known[learnable]):
                ceiling = shared
            else:
                ceiling = self.train(clean[learnable], known[learnable], seed, compute, progress, "clean")
            if lesson is not None and shared is not None:
                if shown.any():
                    tell("trained_released", shared, inputs[shown], labels[shown], evidence.patients[shown])
                own = evidence.own(self.on, tested, Workshop.on(compute))
                if own is not None:
                    tell("trained", shared, cast(Inputs, own), *at_home)
                if self.on == "films" and shown.any():
                    tell("frozen", ceiling, inputs[shown], labels[shown], evidence.patients[shown])
            if evidence.view.model is not None:
                judged = evidence.method.predict(clean[tested], evidence.view.model, Workshop.on(compute))
                scores["trained"] = Scored(at_home[0], judged, at_home[1])
            tell("raw", ceiling, clean[tested], *at_home)
            if evidence.unauthorised is not None:
                scores["unauthorised"] = self._outside(evidence, evidence.unauthorised, seed, compute, progress)
        figures = {arm: self._figures(one, evidence.cohort.findings, seed) for arm, one in scores.items()}
        return {arm: figures.get(arm) for arm in ARMS}

    def _lesson(self, evidence: Evidence) -> Lesson | None:
        """What a classifier is trained on: all rows, which of them to learn from and which to read; None: a model."""
        if self.on not in evidence.view.forms:
            return None
        opened = np.ones_like(evidence.view.opened) if self.on == "codes" else evidence.view.opened
        inputs = cast(Inputs, evidence.view.forms[self.on])
        return Lesson(inputs, evidence.labels, evidence.rows("train") & opened, evidence.rows("test") & opened)

    def _outside(self, evidence: Evidence, pictures: Films, seed: int, compute: Compute, progress: Progress) -> Scored:
        """What somebody without a key reads off pictures like those they learnt from."""
        from fedcxr.training import predict

        train, test = evidence.rows("train"), evidence.rows("test")
        labels, patients = evidence.labels[test], evidence.patients[test]
        if (pictures == pictures[:1]).all():  # nothing to learn, and nothing to read
            return Scored(labels, np.zeros_like(labels), patients)
        network = self.train(pictures[train], evidence.labels[train], seed, compute, progress, "without a key")
        return Scored(labels, predict(network, pictures[test], compute), patients)

    def table(self, figures: Mapping[str, Any]) -> Table:
        rows = [
            Row(f"{level}: {meaning}", (figure(mean["value"]), span(mean["ci95"])))
            for level, meaning in LEVELS.items()
            if figures[level] is not None and (mean := figures[level]["mean_auc"])
        ]
        skipped = figures["raw"]["skipped"] if figures["raw"] else ()
        notes = (f"too rare to score: {', '.join(skipped)}",) if skipped else ()
        return Table("How useful: mean AUC of the findings", ("AUC", "95 % interval"), tuple(rows), notes)

    def train(
        self, films: Inputs, labels: Labels, seed: int, compute: Compute, progress: Progress, stage: str
    ) -> Classifier:
        """A classifier of the findings `labels` (n, k) on `films`, or on codes."""
        import torch

        from fedcxr.models.backbone import Design
        from fedcxr.models.classifier import classifier, findings_loss
        from fedcxr.training import Plan, epochs, fit, place, shifted, shifted_along, to_tensor

        rng = stream(seed, "findings", "weights")
        channels = films.shape[1] if films.ndim == 4 else 1
        placed = channels > 1 and self.on == "purified"
        design = Design(self.network, self.width, self.stride, self.pretrained, channels, placed)
        network = place(classifier(design, labels.shape[1], rng), compute)
        rng = stream(seed, "findings", "batches")
        order = epochs(len(films), self.batch, rng)
        truth = torch.from_numpy(labels).to(compute.device)
        weights = self._weights(truth)

        def shown(batch: Inputs) -> Tensor:
            if channels == 1:
                return to_tensor(shifted(batch, self.shift, rng), compute)
            made = network.stem(to_tensor(batch, compute))
            return shifted_along(made, self.shift, rng) if placed else made  # a cell of 8 x 8 pixels is too coarse

        def loss(step: int) -> Tensor:
            rows = next(order)
            logits = network.read(shown(films[rows]))
            return findings_loss(logits, truth[torch.from_numpy(rows).to(compute.device)], weights, self.smoothing)

        plan = Plan(self.steps, self.learning_rate, self.weight_decay)
        fit(network, loss, plan, compute, lambda step, steps: progress(f"findings {stage}", step, steps))
        return network

    def _weights(self, labels: Tensor) -> Tensor:  # (k,)
        """How often a film with the finding counts: as often as makes both classes equal, within a bound."""
        with_finding, without = (labels == 1).sum(0), (labels == 0).sum(0)
        return (without / with_finding.clamp(min=1)).clamp(1.0, self.rare)

    def _figures(self, one: Scored, findings: tuple[str, ...], seed: int) -> dict[str, Any]:
        labels, scores, patients = one.labels, one.scores, one.patients
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
