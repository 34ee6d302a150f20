"""A cohort: the films one site holds, as memory-mapped pixels, an index table and annotations where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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

Organ = Literal["lungs", "heart"]
ORGANS: tuple[Organ, ...] = ("lungs", "heart")
Annotation = Literal["lungs", "heart", "boxes"]

BOXES = ("film", "finding", "x", "y", "w", "h")  # left upper corner, width and height in pixels of the film


class Pixels(Protocol):
    """What a cohort needs of the array its films lie in; usually it is one, mapped from disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[np.uint8]: ...

    def __getitem__(self, rows: npt.NDArray[np.intp], /) -> npt.NDArray[np.uint8]: ...


class Masks(Protocol):
    """Outlines of one organ, a place for each film of a store; read or drawn when they are asked for."""

    @property
    def there(self) -> npt.NDArray[np.bool_]:  # (m,)
        """Which films of the store have one."""

    def __getitem__(self, rows: npt.NDArray[np.intp], /) -> npt.NDArray[np.bool_]:  # (n, h, w)
        """Those of these films, all of which have one."""


@dataclass(frozen=True)
class Annotations:
    """What is known of places on films, counted as the store counts them: choosing rows of a cohort copies nothing."""

    masks: Mapping[Organ, Masks] = field(default_factory=dict)
    boxes: pd.DataFrame | None = None  # BOXES, any number of rows per film; None: nobody drew any

    def __post_init__(self) -> None:
        if self.boxes is not None and tuple(self.boxes.columns) != BOXES:
            raise DataError("boxes have other columns", given=", ".join(self.boxes.columns), allowed=", ".join(BOXES))

    @property
    def names(self) -> tuple[Annotation, ...]:
        """Which there are."""
        drawn: tuple[Annotation, ...] = tuple(organ for organ in ORGANS if organ in self.masks)
        return drawn if self.boxes is None else (*drawn, "boxes")


@dataclass(frozen=True)
class Cohort:
    """Films and who they belong to. Choosing rows copies no pixels; reading films does."""

    pixels: Pixels  # (m, h, w) uint8, usually a memory map shared by many cohorts
    rows: npt.NDArray[np.intp]  # (n,) which of the m films are in this cohort, in which order
    index: pd.DataFrame  # n rows: COLUMNS and one float column per finding (NaN: unknown)
    findings: tuple[str, ...] = FINDINGS
    annotations: Annotations = Annotations()

    def __post_init__(self) -> None:
        if len(self.pixels.shape) != 3 or self.pixels.dtype != np.uint8:
            raise DataError("a cohort's pixels are (n, h, w) uint8", given=f"{self.pixels.shape} {self.pixels.dtype}")
        if len(self.rows) != len(self.index):
            raise DataError("a cohort needs one index row per film", given=f"{len(self.rows)} and {len(self.index)}")
        missing = [c for c in (*COLUMNS, *self.findings) if c not in self.index.columns]
        if missing:
            raise DataError("the index lacks columns", given=", ".join(missing))

    @classmethod
    def whole(
        cls,
        pixels: Pixels,
        index: pd.DataFrame,
        findings: tuple[str, ...] = FINDINGS,
        annotations: Annotations = Annotations(),
    ) -> Cohort:
        """Every film of a store, in its order."""
        rows = np.arange(len(index), dtype=np.intp)
        return cls(pixels, rows, index.reset_index(drop=True), findings, annotations)

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

    @property
    def splits(self) -> npt.NDArray[np.int8]:  # (n,) places in SPLITS
        return self.index["split"].map(SPLITS.index).to_numpy(dtype=np.int8)

    def films(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.uint8]:  # (n, h, w)
        """The pixels of all films, or of some, read into memory."""
        return self.pixels[self.rows if rows is None else self.rows[_places(rows)]]

    def chunks(self, films: int = 256) -> Iterator[npt.NDArray[np.uint8]]:
        """All films in order, at most `films` at a time, so that memory stays bounded."""
        for start in range(0, len(self), films):
            yield self.pixels[self.rows[start : start + films]]

    def masked(self, organ: Organ) -> npt.NDArray[np.bool_]:  # (n,)
        """Which films have a mask of this organ."""
        return self._masks(organ).there[self.rows]

    def mask(self, organ: Organ, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.bool_]:  # (n, h, w)
        """Where this organ is on all films, or on some, at their size; an error for a film without a mask of it."""
        masks, places = self._masks(organ), self.rows if rows is None else self.rows[_places(rows)]
        without = int((~masks.there[places]).sum())
        if without:
            raise DataError(
                f"films without a mask of the {organ}",
                given=f"{without} of {len(places)}",
                do="ask for those that `masked` names",
            )
        drawn = np.asarray(masks[places])
        if drawn.shape != (len(places), *self.size) or drawn.dtype != np.bool_:
            raise DataError(
                f"masks of the {organ} do not fit the films",
                given=f"{drawn.shape} {drawn.dtype}",
                allowed=f"{(len(places), *self.size)} bool",
            )
        return drawn

    def boxes(self, rows: npt.ArrayLike | None = None) -> pd.DataFrame:
        """The boxes on all films, or on some: BOXES, where `film` is the place among the films asked for."""
        if self.annotations.boxes is None:
            raise DataError("these films have no boxes", allowed=self._annotated())
        places = self.rows if rows is None else self.rows[_places(rows)]
        asked = pd.DataFrame({"film": places, "place": np.arange(len(places))})  # a film may be asked for twice
        found = asked.merge(self.annotations.boxes, on="film")
        return found.assign(film=found["place"])[list(BOXES)]

    def take(self, rows: npt.ArrayLike) -> Cohort:
        """The films at these positions (or under this boolean mask), without copying pixels."""
        chosen = np.arange(len(self))[_places(rows)]
        return replace(self, rows=self.rows[chosen], index=self.index.iloc[chosen].reset_index(drop=True))

    def where(self, split: Split) -> Cohort:
        """The films of one split."""
        return self.take(self.index["split"].to_numpy() == split)

    def _masks(self, organ: Organ) -> Masks:
        if organ not in self.annotations.masks:
            raise DataError("these films have no such masks", given=organ, allowed=self._annotated())
        return self.annotations.masks[organ]

    def _annotated(self) -> str:
        return ", ".join(self.annotations.names) or "nothing: nobody annotated them"


def _places(rows: npt.ArrayLike) -> npt.NDArray[np.generic]:
    places = np.asarray(rows)
    return places if places.size else places.astype(np.intp)  # an empty list is one of floats to NumPy
