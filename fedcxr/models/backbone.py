"""Backbones by name: films in, features out, with random weights or with weights from a file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from fedcxr.errors import ConfigError
from fedcxr.models.architectures import named
from fedcxr.models.narrow import Narrow, NarrowOnCodes, Relative, Stride
from fedcxr.models.normalisation import Norm, without_batches
from fedcxr.models.options import Normalise
from fedcxr.models.pretrained import find
from fedcxr.models.stem import Synthesis

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

OURS = "backbone."  # before the names of its weights in a classifier or a verifier
UNUSED = "num_batches_tracked"


class ImagenetBackbone(nn.Module):
    """A network made for ImageNet, without its last layer; grey films become three channels and are normalised.

    A transformer has learnt where each of its patches lies on films of one size: others are resized to that, and what
    it has learnt of places stays as it is.
    """

    def __init__(self, architecture: str, norm: Norm = "batch") -> None:
        super().__init__()
        known = named(architecture)
        assert known.made_by is not None, "our own network is none of ImageNet's"
        module, _, function = known.made_by.partition(":")
        # torchvision takes a second to import, which the narrow network need not wait for.
        self.network: nn.Module = getattr(importlib.import_module(module), function)(weights=None)
        if norm == "group":
            without_batches(self.network)
        self.side = None if known.any_side else known.side
        above, _, last = known.last.rpartition(".")
        self.features: int = self.network.get_submodule(known.last).in_features
        setattr(self.network.get_submodule(above), last, nn.Identity())

    def forward(self, films: Tensor) -> Tensor:  # (n, 1, h, w) in [0, 1] -> (n, features)
        mean, std = films.new_tensor(IMAGENET_MEAN), films.new_tensor(IMAGENET_STD)
        if self.side is not None and films.shape[-2:] != (self.side, self.side):
            films = resized(films, self.side)
        features: Tensor = self.network((films - mean[:, None, None]) / std[:, None, None])
        return features


def resized(films: Tensor, side: int) -> Tensor:  # (n, 1, h, w) -> (n, 1, side, side)
    """Films at another size, without the steps that come of leaving pixels out."""
    return F.interpolate(films, (side, side), mode="bilinear", antialias=True).clamp(0, 1)


Backbone = Narrow | NarrowOnCodes | ImagenetBackbone


@dataclass(frozen=True)
class Design:
    """Which backbone, what films are made before it reads them, and where its weights come from."""

    architecture: str = "narrow"
    width: int = 16  # of the narrow network; the others have the widths of their papers
    stride: Stride = 2  # of the narrow network
    pretrained: str = "none"  # none, imagenet, or the path of a safetensors file
    channels: int = 1  # of what it reads: films have one, codes more
    placed: bool = False  # codes whose numbers stand where the coder has put them: films can be made of these
    relative: Relative = "film"  # of the narrow network: against what it sees a pixel
    norm: Norm = "batch"
    normalise: Normalise = "none"  # films, before anything reads them

    def stem(self) -> Synthesis | nn.Identity:
        """What turns what is given into what the backbone reads, not yet initialised."""
        return Synthesis(self.channels) if self.placed else nn.Identity()

    def backbone(self) -> Backbone:
        """A new backbone, not yet initialised."""
        if self.channels > 1 and not self.placed:
            return NarrowOnCodes(self.channels, self.width)
        if named(self.architecture).made_by is None:
            return Narrow(self.width, self.stride, self.relative, self.norm)
        return ImagenetBackbone(self.architecture, self.norm)

    def load_pretrained(self, backbone: Backbone) -> None:
        """Replace the weights of a backbone of this design by pretrained ones, if it asks for them."""
        path = find(self.architecture, self.pretrained)
        if path is not None:
            _load(backbone, path, self.architecture)


def _load(backbone: Backbone, path: Path, architecture: str) -> None:
    """Weights as torchvision names them, or as one of our own networks that has such a backbone does."""
    try:
        weights = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise _misfit(architecture, path, str(error).splitlines()[0]) from None
    own = {name.removeprefix(OURS): array for name, array in weights.items() if name.startswith(OURS)}
    last = named(architecture).last
    network = backbone if own or not isinstance(backbone, ImagenetBackbone) else backbone.network
    given = own or {name: array for name, array in weights.items() if not (last and name.startswith(f"{last}."))}
    wrong = _difference(given, network.state_dict())
    if wrong is not None:
        raise _misfit(architecture, path, wrong)
    network.load_state_dict(given, strict=False)  # how many batches were seen, which nothing uses, may be missing


def _difference(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """What keeps weights from being those of a network: the first of it."""
    strange = next((name for name in given if name not in wanted and not name.endswith(UNUSED)), None)
    if strange is not None:
        return f"it has {strange}, which is no part of that network; give the file of the network that is named"
    missing = next((name for name in wanted if name not in given and not name.endswith(UNUSED)), None)
    if missing is not None:
        return f"it lacks {missing}; give the file of the network that is named"
    other = next((name for name in given if name in wanted and given[name].shape != wanted[name].shape), None)
    if other is not None:
        shapes = f"{tuple(given[other].shape)} instead of {tuple(wanted[other].shape)}"
        return f"{other} is {shapes}; give the file of a network of that width"
    return None


def _misfit(architecture: str, path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the pretrained weights do not fit {architecture}",
        given=path,
        allowed="a safetensors file of torchvision's own state dict, or of what an earlier run has learnt",
        do=why,
    )
