"""A backbone that learns nothing any more: what it makes of the middle of a film, as it is and mirrored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedcxr.models.backbone import Backbone, resized


class Frozen(nn.Module):
    """Cuts the middle out of films, brings it to the size that the backbone was trained on, and lets it look."""

    def __init__(self, backbone: Backbone, middle: float, side: int | None, mirrored: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.middle = middle  # share of either side that is kept
        self.side = side  # pixels; None: as many as are left
        self.mirrored = mirrored

    def forward(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> (n, features)
        height, width = films.shape[-2:]
        rows, columns = (max(1, round(self.middle * pixels)) for pixels in (height, width))
        top, left = (height - rows) // 2, (width - columns) // 2
        seen = films[..., top : top + rows, left : left + columns]
        if self.side is not None:
            seen = resized(seen, self.side)
        if self.mirrored:
            seen = seen.flip(-1)
        features: Tensor = self.backbone(seen.contiguous(memory_format=torch.channels_last))
        return features
