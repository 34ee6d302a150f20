"""Two films in, one number out: how likely they are of the same patient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models.backbone import Backbone, Design
from fedcxr.models.initialise import build

_CELLS = 1 << 22  # n x m x d at once when comparing: 16 MiB of float32


class Siamese(nn.Module):
    """Both films go through one backbone; the absolute difference of their embeddings is weighed linearly."""

    def __init__(self, backbone: Backbone, dimensions: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.project = nn.Linear(backbone.features, dimensions)
        self.head = nn.Linear(dimensions, 1)

    def embed(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> (n, d) in [0, 1]
        return torch.sigmoid(self.project(self.backbone(films)).float())

    def forward(self, films: Tensor) -> Tensor:
        return self.embed(films)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of all pairs, (n, d) x (m, d) -> (n, m): above 0 means more likely the same patient."""
        rows = max(1, _CELLS // max(1, second.numel()))  # blockwise, to avoid holding n x m x d numbers
        # In full precision: bf16 would leave 8 bits to rank all pairs with.
        with torch.autocast(first.device.type, enabled=False):
            blocks = [(block[:, None] - second[None]).abs() @ self.head.weight[0] for block in torch.split(first, rows)]
            return torch.cat(blocks) + self.head.bias


def siamese(design: Design, dimensions: int, rng: np.random.Generator) -> Siamese:
    """A verifier ready to be trained."""
    network = build(lambda: Siamese(design.backbone(), dimensions), rng)
    design.load_pretrained(network.backbone)
    return network


def partner_loss(logits: Tensor, sharpness: float) -> Tensor:
    """How badly (n, n) logits tell each film's partner, on the diagonal, from all other films in the batch.

    Softmax over the partners, in both directions, learns from all pairs at once (AUC .96 where one label per
    pair reaches .85 in the same time); balanced cross-entropy adds what a softmax cannot see: where zero is.
    """
    partners = torch.arange(len(logits), device=logits.device)
    forth = F.cross_entropy(sharpness * logits, partners)
    back = F.cross_entropy(sharpness * logits.T, partners)
    genuine = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    balanced = F.softplus(-logits[genuine]).mean() + F.softplus(logits[~genuine]).mean()
    return (forth + back + balanced) / 2
