"""Where pretrained weights lie. Nothing is ever downloaded, and nothing here imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from fedcxr.errors import ConfigError
from fedcxr.models.architectures import ARCHITECTURES, named


def find(architecture: str, pretrained: str) -> Path | None:
    """The file behind `none`, `imagenet` or a path; None for `none`, an error if it is not there."""
    if pretrained == "none":
        return None
    if pretrained == "imagenet" and named(architecture).imagenet is None:
        others = ", ".join(name for name, known in ARCHITECTURES.items() if known.imagenet)
        raise ConfigError(
            f"the {architecture} network has no pretrained weights",
            given="pretrained: imagenet",
            allowed="none, or a safetensors file with its own",
            do=f"set network to one of {others}, or pretrained to none",
        )
    path = weights_file(architecture) if pretrained == "imagenet" else Path(pretrained)
    if not path.is_file():
        raise ConfigError("there are no pretrained weights here", given=path, do=_how_to_make(architecture, path))
    return path


def weights_file(architecture: str) -> Path:
    """Where `imagenet` looks."""
    folder = os.environ.get("FEDCXR_WEIGHTS") or Path.home() / ".cache" / "fedcxr" / "weights"
    return Path(folder) / f"{architecture}.safetensors"


def _how_to_make(architecture: str, path: Path) -> str:
    known = named(architecture)
    if known.made_by is None or known.imagenet is None:
        return "name a file that is there, such as one that an earlier run has left in learnt/"
    module, _, function = known.made_by.partition(":")
    return (
        "make it on a machine with network and copy it there: "
        f"python -c 'from {module} import {function}; from safetensors.torch import save_file; "
        f'save_file({function}(weights="{known.imagenet}").state_dict(), "{path.name}")\''
    )
