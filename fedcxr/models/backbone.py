"""Backbones by name: films in, features out, with random weights or with weights from a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import safetensors.torch
import torchvision
from safetensors import SafetensorError
from torch import Tensor, nn

from fedcxr.errors import ConfigError
from fedcxr.models.narrow import Narrow

Architecture = Literal["narrow", "resnet50", "densenet121"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImagenetBackbone(nn.Module):
    """A torchvision network without its last layer; grey films are repeated to three channels and normalised."""

    def __init__(self, architecture: Literal["resnet50", "densenet121"]) -> None:
        super().__init__()
        self.network: nn.Module = getattr(torchvision.models, architecture)(weights=None)
        head = _HEAD[architecture]
        self.features: int = getattr(self.network, head).in_features
        setattr(self.network, head, nn.Identity())

    def forward(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> (n, features)
        mean, std = films.new_tensor(IMAGENET_MEAN), films.new_tensor(IMAGENET_STD)
        features: Tensor = self.network((films - mean[:, None, None]) / std[:, None, None])
        return features


_HEAD = {"resnet50": "fc", "densenet121": "classifier"}

Backbone = Narrow | ImagenetBackbone


def backbone(architecture: Architecture, width: int) -> Backbone:
    """A new backbone; `width` is for the narrow network, the others have the width of their papers."""
    return Narrow(width) if architecture == "narrow" else ImagenetBackbone(architecture)


def load_pretrained(network: Backbone, architecture: Architecture, pretrained: str) -> None:
    """Fill a backbone with `pretrained`: none, imagenet, or the path of a safetensors file."""
    if pretrained == "none":
        return
    if not isinstance(network, ImagenetBackbone):
        raise ConfigError(
            "the narrow network has no pretrained weights",
            given=f"pretrained: {pretrained}",
            allowed="none",
            do="set network to resnet50 or densenet121, or pretrained to none",
        )
    path = weights_file(architecture) if pretrained == "imagenet" else Path(pretrained)
    if not path.is_file():
        raise ConfigError("no pretrained weights at this place", given=path, do=_how_to_make(architecture, path))
    try:
        weights = safetensors.torch.load_file(path)
        head = f"{_HEAD[architecture]}."
        body = {name: tensor for name, tensor in weights.items() if not name.startswith(head)}
        network.network.load_state_dict(body)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"the pretrained weights do not fit {architecture}",
            given=path,
            allowed="a safetensors file of torchvision's own state dict",
            do=str(error).splitlines()[0],
        ) from None


def weights_file(architecture: Architecture) -> Path:
    """Where `pretrained: imagenet` looks; nothing is ever downloaded."""
    folder = os.environ.get("FEDCXR_WEIGHTS") or Path.home() / ".cache" / "fedcxr" / "weights"
    return Path(folder) / f"{architecture}.safetensors"


def _how_to_make(architecture: Architecture, path: Path) -> str:
    return (
        "make it on a machine with network and copy it there: "
        f"python -c 'from torchvision.models import {architecture}; from safetensors.torch import save_file; "
        f'save_file({architecture}(weights="IMAGENET1K_V1").state_dict(), "{path.name}")\''
    )
