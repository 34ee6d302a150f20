"""A generator's weights: how they travel, what is checked before they are used, and the file they are kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcxr.errors import ConfigError, TrainingDiverged
from fedcxr.methods import Weights
from fedcxr.storage.checkpoint import Checkpoint

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
FILM_SIZE = "film_size"  # beside the weights: height and width of the films they learnt from
ANY_SIZE = (0, 0)  # of weights that have not seen a film


def arrays_of(network: nn.Module, size: tuple[int, int]) -> Weights:
    """What leaves the training: floating-point weights, and the size of the films they are for."""
    learnt: Weights = {
        name: np.array(tensor.detach().cpu().numpy(), order="C")
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }
    return {**learnt, FILM_SIZE: np.array(size, dtype=np.int64)}


def network_of(make: Callable[[], nn.Module], weights: Weights) -> nn.Module:
    """The network with these weights, if they are its own."""
    import torch

    check_size(weights, ANY_SIZE)
    refuse_nan(weights)
    with torch.device("meta"):
        network = make()
    tensors = {name: torch.tensor(array) for name, array in weights.items() if name != FILM_SIZE}
    tensors |= {name: torch.tensor(0) for name in network.state_dict() if name.endswith("num_batches_tracked")}
    here, there = (
        {k: f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for k, t in d.items()}
        for d in (network.state_dict(), tensors)
    )
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise ConfigError(
                "these weights are of another generator",
                given=f"{name}: {there.get(name, 'missing')}",
                allowed=here.get(name, "none of this name"),
                do="give the generator the widths and the cell it was trained with",
            )
    network.load_state_dict(tensors, assign=True)
    return network


def refuse_nan(weights: Weights) -> None:
    """Weights that are not finite would draw films that mean nothing."""
    for name, array in weights.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TrainingDiverged("a generator has weights that are not finite", given=name, do="train it again")


def check_size(weights: Weights, films: tuple[int, ...]) -> None:
    """A generator is for films of the size it learnt from: on others, what it does means something else."""
    trained = _size_of(weights)
    if ANY_SIZE not in (trained, films) and trained != films:
        raise ConfigError(
            "this generator was trained on films of another size",
            given="{} x {}".format(*films),
            allowed="{} x {}".format(*trained),
            do="train one for films of this size",
        )


def keep(path: Path, weights: Weights, facts: Mapping[str, Any]) -> None:
    """Write weights down, and what must be known to use them again."""
    Checkpoint(weights, {"format": FORMAT, "film_size": _size_of(weights), **facts}).write(path)


def fetch(path: Path, facts: Mapping[str, Any]) -> Weights:
    """The weights in a file, if they are of such a generator."""
    check_facts(path, facts)
    return dict(Checkpoint.read(path).arrays)


def check_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse a file of other weights, by its first few bytes."""
    if not path.is_file():
        raise ConfigError("there are no weights here", given=path, do="give the path of a generator's safetensors file")
    kept = Checkpoint.facts_of(path)
    for name, wanted in {"format": FORMAT, **facts}.items():
        if kept.get(name) != wanted:
            raise ConfigError(
                f"these weights are of another {name.replace('_', ' ')}",
                given=f"{kept.get(name, 'none')} in {path}",
                allowed=str(wanted),
                do="use the settings it was trained with",
            )


def _size_of(weights: Weights) -> tuple[int, int]:
    if FILM_SIZE not in weights:
        raise ConfigError(
            "these are not the weights of a generator", given=", ".join(weights) or "none", do="let it learn first"
        )
    size = weights[FILM_SIZE]
    if size.shape != (2,) or size.dtype.kind != "i":
        raise ConfigError(
            "a generator's film size is no size", given=f"{size.shape} {size.dtype}", allowed="height and width"
        )
    height, width = size.tolist()
    return int(height), int(width)
