"""Which findings does a film show? One logit per finding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models.backbone import Backbone, Design
from fedcxr.models.initialise import build, rebuild
from fedcxr.models.narrow import Narrow
from fedcxr.models.options import Normalise
from fedcxr.models.scanner import Normalised
from fedcxr.models.stem import Synthesis


class Classifier(nn.Module):
    """A backbone and one linear layer, behind a stem if it is given something else than the backbone reads.

    `comorbid`: what it says of a finding is moved by what it says of all, as it learns; at first by nothing.
    `places`: of so many things it learns on the way in which cells they are; what it says of a film stays.
    """

    def __init__(
        self,
        backbone: Backbone,
        findings: int,
        stem: Synthesis | nn.Identity,
        normalise: Normalise = "none",
        *,
        comorbid: bool = False,
        places: int = 0,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.alike = Normalised(normalise)
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, findings)
        self.comorbid = nn.Linear(findings, findings, bias=False) if comorbid else None
        # Last, so that all other layers begin as they do without.
        self.places = nn.Conv2d(backbone.features // 2, places, 1) if places else None

    def forward(self, given: Tensor) -> Tensor:  # films (n, 1, h, w) in [0, 1], or codes -> (n, findings) logits
        return self.read(self.stem(given))

    def read(self, films: Tensor) -> Tensor:
        """The same of what the stem has made."""
        return self._told(self.backbone(self.alike(films)))

    def read_with_places(self, films: Tensor) -> tuple[Tensor, Tensor]:  # and (n, places, h / 8, w / 8) logits
        """What it says of films, and of which of their cells it takes each thing to be in."""
        assert isinstance(self.backbone, Narrow), "methods refuse others"
        assert self.places is not None, "a network without such heads is not asked"
        features, cells = self.backbone.with_cells(self.alike(films))
        return self._told(features), self.places(cells)

    def _told(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits if self.comorbid is None else logits + self.comorbid(torch.tanh(logits / 2))


def classifier(
    design: Design, findings: int, rng: np.random.Generator, *, comorbid: bool = False, places: int = 0
) -> Classifier:
    """A classifier ready to be trained."""
    network = build(lambda: _described(design, findings, comorbid, places), rng)
    if network.comorbid is not None:
        nn.init.zeros_(network.comorbid.weight)
    if isinstance(network.stem, Synthesis):
        network.stem.start()
    design.load_pretrained(network.backbone)
    return network


def taught(
    design: Design,
    findings: int,
    weights: Mapping[str, npt.NDArray[np.generic]],
    *,
    comorbid: bool = False,
    places: int = 0,
) -> Classifier:
    """A classifier with what an equal one has learnt."""
    return rebuild(lambda: _described(design, findings, comorbid, places), weights)


def _described(design: Design, findings: int, comorbid: bool, places: int) -> Classifier:
    return Classifier(design.backbone(), findings, design.stem(), design.normalise, comorbid=comorbid, places=places)


def findings_loss(logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over the labels that are known.

    `labels` are (n, k) of 0, 1 or NaN (unknown: no loss, no gradient); `weights` (k,) multiply the loss of
    films with the finding, so that rare findings are learnt too. `smoothing` draws 0 and 1 towards one half.
    """
    known = ~labels.isnan()
    targets = labels.nan_to_num(0.0) * (1.0 - smoothing) + 0.5 * smoothing
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, pos_weight=weights, reduction="none")
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)
