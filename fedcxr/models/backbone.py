"""Backbones by name: films in, features out, with random weights or with weights from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from fedcxr.errors import ConfigError
from fedcxr.models.narrow import Narrow, NarrowOnCodes, Relative, Stride
from fedcxr.models.normalisation import Norm, without_batches
from fedcxr.models.pretrained import Architecture, find
from fedcxr.models.stem import Synthesis

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_LAST_LAYER = {"resnet18": "fc", "resnet50": "fc", "densenet121": "classifier"}


class ImagenetBackbone(nn.Module):
    """A torchvision network without its last layer; grey films become three channels and are normalised."""

    def __init__(self, architecture: Literal["resnet18", "resnet50", "densenet121"], norm: Norm = "batch") -> None:
        super().__init__()
        import torchvision  # takes a second, which the narrow network need not wait for

        self.network: nn.Module = getattr(torchvision.models, architecture)(weights=None)
        if norm == "group":
            without_batches(self.network)
        last = _LAST_LAYER[architecture]
        self.features: int = getattr(self.network, last).in_features
        setattr(self.network, last, nn.Identity())

    def forward(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> (n, features)
        mean, std = films.new_tensor(IMAGENET_MEAN), films.new_tensor(IMAGENET_STD)
        features: Tensor = self.network((films - mean[:, None, None]) / std[:, None, None])
        return features


Backbone = Narrow | NarrowOnCodes | ImagenetBackbone


@dataclass(frozen=True)
class Design:
    """Which backbone, and where its weights come from."""

    architecture: Architecture = "narrow"
    width: int = 16  # of the narrow network; the others have the widths of their papers
    stride: Stride = 2  # of the narrow network
    pretrained: str = "none"  # none, imagenet, or the path of a safetensors file
    channels: int = 1  # of what it reads: films have one, codes more
    placed: bool = False  # codes whose numbers stand where the coder has put them: films can be made of these
    relative: Relative = "film"  # of the narrow network: against what it sees a pixel
    norm: Norm = "batch"

    def stem(self) -> Synthesis | nn.Identity:
        """What turns what is given into what the backbone reads, not yet initialised."""
        return Synthesis(self.channels) if self.placed else nn.Identity()

    def backbone(self) -> Backbone:
        """A new backbone, not yet initialised."""
        if self.channels > 1 and not self.placed:
            return NarrowOnCodes(self.channels, self.width)
        if self.architecture == "narrow":
            return Narrow(self.width, self.stride, self.relative, self.norm)
        return ImagenetBackbone(self.architecture, self.norm)

    def load_pretrained(self, backbone: Backbone) -> None:
        """Replace the weights of a backbone of this design by pretrained ones, if it asks for them."""
        path = find(self.architecture, self.pretrained)
        if path is not None and isinstance(backbone, ImagenetBackbone):
            _load(backbone.network, path, self.architecture)


def _load(network: nn.Module, path: Path, architecture: Architecture) -> None:
    try:
        weights = safetensors.torch.load_file(path)
        last = _LAST_LAYER[architecture]
        network.load_state_dict({k: v for k, v in weights.items() if not k.startswith(f"{last}.")})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"the pretrained weights do not fit {architecture}",
            given=path,
            allowed="a safetensors file of torchvision's own state dict",
            do=str(error).splitlines()[0],
        ) from None
