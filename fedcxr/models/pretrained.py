"""Where pretrained weights lie. Nothing is ever downloaded, and nothing here imports torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from fedcxr.errors import ConfigError

Architecture = Literal["narrow", "resnet18", "resnet50", "densenet121"]


def find(architecture: Architecture, pretrained: str) -> Path | None:
    """The file behind `none`, `imagenet` or a path; None for `none`, an error if it is not there."""
    if pretrained == "none":
        return None
    if architecture == "narrow":
        raise ConfigError(
            "the narrow network has no pretrained weights",
            given=f"pretrained: {pretrained}",
            allowed="none",
            do="set network to resnet18, resnet50 or densenet121, or pretrained to none",
        )
    path = weights_file(architecture) if pretrained == "imagenet" else Path(pretrained)
    if not path.is_file():
        raise ConfigError("there are no pretrained weights here", given=path, do=_how_to_make(architecture, path))
    return path


def weights_file(architecture: Architecture) -> Path:
    """Where `imagenet` looks."""
    folder = os.environ.get("FEDCXR_WEIGHTS") or Path.home() / ".cache" / "fedcxr" / "weights"
    return Path(folder) / f"{architecture}.safetensors"


def _how_to_make(architecture: Architecture, path: Path) -> str:
    return (
        "make it on a machine with network and copy it there: "
        f"python -c 'from torchvision.models import {architecture}; from safetensors.torch import save_file; "
        f'save_file({architecture}(weights="IMAGENET1K_V1").state_dict(), "{path.name}")\''
    )
