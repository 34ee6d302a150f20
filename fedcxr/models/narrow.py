"""A small residual network that a CPU trains in seconds."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.models.contrast import local_contrast
from fedcxr.models.normalisation import Norm, convolution, norm_layer

Stride = Literal[2, 4]
Relative = Literal["film", "surroundings"]  # to what a pixel's brightness is measured

_KERNEL: dict[Stride, int] = {2: 5, 4: 8}


class Narrow(nn.Module):
    """Strided convolutions, each with a residual block behind it, then the mean over the film.

    A strided convolution halves height and width and doubles the channels. It has no shortcut around it: the
    usual 1x1 one takes four fifths of the CPU time of the 3x3 convolution it would bridge. At `stride` 2
    the first has no residual block, which at that size would cost more than any other.
    """

    def __init__(self, width: int = 16, stride: Stride = 2, relative: Relative = "film", norm: Norm = "batch") -> None:
        super().__init__()
        self.relative = relative
        layers: list[nn.Module] = [_convolution(1, width, _KERNEL[stride], stride, norm=norm)]
        if stride == 4:
            layers.append(_Residual(width, norm))
        channels = width
        for _ in range(3 if stride == 2 else 2):  # films of 64 px end as 4 x 4 cells either way
            layers += [_convolution(channels, 2 * channels, stride=2, norm=norm), _Residual(2 * channels, norm)]
            channels *= 2
        self.layers = nn.Sequential(*layers)
        self.features = channels

    def forward(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> (n, features)
        features: Tensor = self.layers(self._seen(films))
        return features.mean((2, 3))

    def with_cells(self, films: Tensor) -> tuple[Tensor, Tensor]:  # (n, features), (n, features / 2, h / 8, w / 8)
        """The same, and the map of cells of 8 x 8 pixels that it is read off: at either stride before the last two."""
        cells: Tensor = self.layers[:-2](self._seen(films))
        features: Tensor = self.layers[-2:](cells)
        return features.mean((2, 3)), cells

    def _seen(self, films: Tensor) -> Tensor:
        """A film's own brightness and contrast are exposure, not anatomy; those of a part of it may be a shadow's."""
        if self.relative == "surroundings":
            return local_contrast(films).contiguous(memory_format=torch.channels_last)
        centred = films - films.mean((1, 2, 3), keepdim=True)
        deviation = centred.square().mean((1, 2, 3), keepdim=True).add(1e-4).sqrt()
        return centred / deviation


class NarrowOnCodes(nn.Module):
    """What remains of the network where a film has been turned into cells of 8 x 8 pixels already."""

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        inner, outer = 4 * width, 8 * width
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),  # a code's channels differ in size by orders of magnitude
            _convolution(channels, inner),
            _Residual(inner),
            _convolution(inner, outer, stride=2),
            _Residual(outer),
        )
        self.features = outer

    def forward(self, codes: Tensor) -> Tensor:  # (n, c, h, w) -> (n, features)
        features: Tensor = self.layers(codes)
        return features.mean((2, 3))


class _Residual(nn.Module):
    def __init__(self, channels: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.first = _convolution(channels, channels, norm=norm)
        self.second = _convolution(channels, channels, activate=False, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)), inplace=True)


def _convolution(
    channels: int, wider: int, kernel: int = 3, stride: int = 1, activate: bool = True, norm: Norm = "batch"
) -> nn.Sequential:
    padding = (kernel - stride + 1) // 2
    layers = [convolution(norm, channels, wider, kernel, stride, padding), norm_layer(norm, wider)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if activate else []))
