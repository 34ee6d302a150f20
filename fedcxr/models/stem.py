"""What stands before a backbone where codes are learnt from: the layer that makes films of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedcxr.models.sparse_coder import CELL, PER_MAP, WINDOW, from_steps, lapped_dct


class Synthesis(nn.ConvTranspose2d):
    """The untrained coder's synthesis at the start, then trained along with the network behind it.

    Where an edge lies within a cell is spread over the cell's 64 numbers. Networks that were given these as so many
    channels hardly learnt to put it together again.
    """

    def __init__(self, channels: int) -> None:
        # Half a window beyond the film is cut away.
        super().__init__(channels, 1, WINDOW, CELL, (WINDOW - CELL) // 2, bias=False)
        self.maps = channels // PER_MAP

    @torch.no_grad()
    def start(self) -> None:
        """As the coder has it before any training."""
        self.weight.copy_(torch.from_numpy(lapped_dct()[1]).repeat(self.maps, 1, 1, 1))

    def forward(self, codes: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(n, 64 maps, h, w) int8 steps -> films (n, 1, 8 h, 8 w), roughly in [0, 1]."""
        return super().forward(from_steps(codes), output_size) + 0.5
