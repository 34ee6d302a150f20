"""A cohort: the films one site holds, as memory-mapped pixels and an index table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.errors import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# The findings of NIH ChestX-ray14, in the order of every table of this project.
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)

COLUMNS = ("image", "patient", "visit", "view", "age", "sex", "source", "split")


class Pixels(Protocol):
    """What a cohort needs of the array its films lie in; usually it is one, mapped from disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[np.uint8]: ...

    def __getitem__(self, rows: npt.NDArray[np.intp], /) -> npt.NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Cohort:
    """Films and who they belong to. Choosing rows copies no pixels; reading films does."""

    pixels: Pixels  # (m, h, w) uint8, usually a memory map shared by many cohorts
    rows: npt.NDArray[np.intp]  # (n,) which of the m films are in this cohort, in which order
    index: pd.DataFrame  # n rows: COLUMNS and one float column per finding (NaN: unknown)
    findings: tuple[str, ...] = FINDINGS

    def __post_init__(self) -> None:
        if len(self.pixels.shape) != 3 or self.pixels.dtype != np.uint8:
            raise DataError("a cohort's pixels are (n, h, w) uint8", given=f"{self.pixels.shape} {self.pixels.dtype}")
        if len(self.rows) != len(self.index):
            raise DataError("a cohort needs one index row per film", given=f"{len(self.rows)} and {len(self.index)}")
        missing = [c for c in (*COLUMNS, *self.findings) if c not in self.index.columns]
        if missing:
            raise DataError("the index lacks columns", given=", ".join(missing))

    @classmethod
    def whole(cls, pixels: Pixels, index: pd.DataFrame, findings: tuple[str, ...] = FINDINGS) -> Cohort:
        """Every film of a store, in its order."""
        return cls(pixels, np.arange(len(index), dtype=np.intp), index.reset_index(drop=True), findings)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a film in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def patients(self) -> npt.NDArray[np.object_]:  # (n,)
        return self.index["patient"].to_numpy(dtype=object)

    @property
    def labels(self) -> npt.NDArray[np.float32]:  # (n, k) of 0, 1 or NaN
        return self.index.loc[:, list(self.findings)].to_numpy(dtype=np.float32)

    def films(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.uint8]:  # (n, h, w)
        """The pixels of all films, or of some, read into memory."""
        return self.pixels[self.rows if rows is None else self.rows[_places(rows)]]

    def chunks(self, films: int = 256) -> Iterator[npt.NDArray[np.uint8]]:
        """All films in order, at most `films` at a time, so that memory stays bounded."""
        for start in range(0, len(self), films):
            yield self.pixels[self.rows[start : start + films]]

    def take(self, rows: npt.ArrayLike) -> Cohort:
        """The films at these positions (or under this boolean mask), without copying pixels."""
        chosen = np.arange(len(self))[_places(rows)]
        return replace(self, rows=self.rows[chosen], index=self.index.iloc[chosen].reset_index(drop=True))

    def where(self, split: Split) -> Cohort:
        """The films of one split."""
        return self.take(self.index["split"].to_numpy() == split)


def _places(rows: npt.ArrayLike) -> npt.NDArray[np.generic]:
    places = np.asarray(rows)
    return places if places.size else places.astype(np.intp)  # an empty list is one of floats to NumPy
