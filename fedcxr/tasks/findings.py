"""How well can findings be learnt from releases, and read off released films?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.bootstrap import mean_auc_interval
from fedcxr.cohort import SPLITS
from fedcxr.errors import DataError
from fedcxr.metrics import MIN_POSITIVES, finding_aucs
from fedcxr.models import pretrained
from fedcxr.rng import stream
from fedcxr.tasks import Evidence, Progress, Task

if TYPE_CHECKING:
    from torch import Tensor

    from fedcxr.compute import Compute
    from fedcxr.models.classifier import Classifier

# Torch and the networks are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

Films = npt.NDArray[np.uint8]  # (n, h, w)
Labels = npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN


class Findings(Task):
    """Two classifiers, one trained on released and one on clean films, are each tested on both kinds of films.

    Both start from the same weights and see the same films in the same order for the same number of steps:
    what differs between their figures is the method's doing.
    """

    paper: ClassVar[str | None] = "Packhaeuser et al., MICCAI 2023 (`frozen`); all others: ours"

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
        labels = evidence.labels[train]
        released, clean = evidence.released[test], evidence.clean[test]
        with compute.session():
            shared = self.train(evidence.released[train], labels, seed, compute, progress, "released")
            # The same bytes would train the same classifier again.
            unprotected = np.array_equal(evidence.released[train], evidence.clean[train])
            ceiling = (
                shared if unprotected else self.train(evidence.clean[train], labels, seed, compute, progress, "clean")
            )
            logits = {
                "trained": predict(shared, clean, compute),
                "trained_released": predict(shared, released, compute),
                "frozen": predict(ceiling, released, compute),
                "raw": predict(ceiling, clean, compute),
            }
        return {
            arm: self._figures(evidence.labels[test], scores, evidence.patients[test], evidence.findings, seed)
            for arm, scores in logits.items()
        }

    def train(
        self, films: Films, labels: Labels, seed: int, compute: Compute, progress: Progress, stage: str
    ) -> Classifier:
        """A classifier of the findings `labels` (n, k) on `films`."""
        import torch

        from fedcxr.models.backbone import Design
        from fedcxr.models.classifier import classifier, findings_loss
        from fedcxr.training import Plan, epochs, fit, place, shifted, to_tensor

        rng = stream(seed, "findings", "weights")
        design = Design(self.network, self.width, self.stride, self.pretrained)
        network = place(classifier(design, labels.shape[1], rng), compute)
        rng = stream(seed, "findings", "batches")
        order = epochs(len(films), self.batch, rng)
        truth = torch.from_numpy(labels).to(compute.device)
        weights = self._weights(truth)

        def loss(step: int) -> Tensor:
            rows = next(order)
            logits = network(to_tensor(shifted(films[rows], self.shift, rng), compute))
            return findings_loss(logits, truth[torch.from_numpy(rows).to(compute.device)], weights, self.smoothing)

        plan = Plan(self.steps, self.learning_rate, self.weight_decay)
        fit(network, loss, plan, compute, lambda step, steps: progress(f"findings {stage}", step, steps))
        return network

    def _weights(self, labels: Tensor) -> Tensor:  # (k,)
        """How often a film with the finding counts: as often as makes both classes equal, within a bound."""
        with_finding, without = (labels == 1).sum(0), (labels == 0).sum(0)
        return (without / with_finding.clamp(min=1)).clamp(1.0, self.rare)

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
