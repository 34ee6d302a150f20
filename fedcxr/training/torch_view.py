"""A cohort as other people's PyTorch code wants it: a Dataset, and the pixel range of torchxrayvision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError

Transform = Callable[[Tensor], Tensor]

XRV_RANGE = 1024  # torchxrayvision's films lie in [-1024, 1024], for Hounsfield units do


class FilmDataset(Dataset[tuple[Tensor, Tensor]]):
    """Films of a cohort with their findings, for a DataLoader.

    An item is (film, labels): the film (1, h, w) in [0, 1] float32, and after `transform` whatever that makes of it;
    the labels (k,) float32 of 0, 1 or NaN (unknown: leave them out of the loss). Films are read one at a time; a worker
    process opens the store on disk by itself and is never sent its pixels.
    """

    def __init__(self, cohort: Cohort, transform: Transform | None = None) -> None:
        self.cohort = cohort
        self.transform = transform
        self._labels = torch.tensor(cohort.labels)

    def __len__(self) -> int:
        return len(self.cohort)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        if not -len(self) <= item < len(self):
            raise IndexError(f"film {item} of {len(self)}")
        film = torch.from_numpy(np.array(self.cohort.films([item])[0]))
        image = film.unsqueeze(0).float() / 255  # (1, h, w) in [0, 1]
        return image if self.transform is None else self.transform(image), self._labels[item]

    def __getstate__(self) -> dict[str, Any]:
        """What a worker is sent: of pixels on disk, only where they are."""
        pixels = self.cohort.pixels
        # A part of a map does not know where in the file it begins, and is sent itself.
        if not (isinstance(pixels, np.memmap) and pixels.filename and not isinstance(pixels.base, np.ndarray)):
            return self.__dict__
        where = (str(pixels.filename), pixels.offset, pixels.shape)
        empty = np.empty((0, *pixels.shape[1:]), dtype=np.uint8)
        rest = Cohort(empty, self.cohort.rows, self.cohort.index, self.cohort.findings)
        return {**self.__dict__, "cohort": rest, "_mapped": where}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if (where := state.pop("_mapped", None)) is not None:
            filename, offset, shape = where
            rest = state["cohort"]
            pixels = np.memmap(filename, np.uint8, "r", offset, shape)
            state["cohort"] = Cohort(pixels, rest.rows, rest.index, rest.findings)
        self.__dict__.update(state)


def to_xrv(films: Tensor) -> Tensor:
    """Films in [0, 255] (uint8) or [0, 1] (float) in torchxrayvision's range: float32 in [-1024, 1024].

    The same as `torchxrayvision.datasets.normalize(films, 255)`, so its pretrained models can be used on the result.
    """
    unit = films.float() / 255 if films.dtype == torch.uint8 else films.float()
    if unit.numel() and not (unit.min() >= 0 and unit.max() <= 1):
        raise DataError(
            "these are not films",
            given=f"values from {unit.min():g} to {unit.max():g}",
            allowed="uint8, or float in [0, 1]",
        )
    return (2 * unit - 1) * XRV_RANGE


def from_xrv(images: Tensor) -> Tensor:
    """Images in torchxrayvision's range as uint8 films, rounded; `from_xrv(to_xrv(films))` is `films`, exactly."""
    if images.numel() and not (images.min() >= -XRV_RANGE and images.max() <= XRV_RANGE):
        raise DataError(
            "these are not in the range of torchxrayvision",
            given=f"values from {images.min():g} to {images.max():g}",
            allowed=f"[-{XRV_RANGE}, {XRV_RANGE}]",
        )
    return ((images.double() / XRV_RANGE + 1) * 127.5).round().to(torch.uint8)
