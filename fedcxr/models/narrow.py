"""A small residual network that a CPU trains in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Narrow(nn.Module):
    """Strided convolutions, each followed by residual blocks, then the mean over the film.

    A strided convolution halves height and width and doubles the channels. It has no shortcut: the usual
    1x1 one costs as much CPU time as a 3x3 convolution and gained nothing here.
    """

    def __init__(self, width: int = 16, blocks: Sequence[int] = (0, 1, 1, 1)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for stage, residuals in enumerate(blocks):
            wider = width * 2**stage
            layers.append(_convolution(channels, wider, kernel=5 if stage == 0 else 3, stride=2))
            layers.extend(_Residual(wider) for _ in range(residuals))
            channels = wider
        self.layers = nn.Sequential(*layers)
        self.features = channels

    def forward(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> (n, features)
        # A film's own brightness and contrast are exposure, not anatomy.
        centred = films - films.mean((1, 2, 3), keepdim=True)
        deviation = centred.square().mean((1, 2, 3), keepdim=True).add(1e-4).sqrt()
        features: Tensor = self.layers(centred / deviation)
        return features.mean((2, 3))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)), inplace=True)


def _convolution(channels: int, wider: int, kernel: int = 3, stride: int = 1, activate: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(channels, wider, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(wider)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if activate else []))
