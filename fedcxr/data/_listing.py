"""What a source of real films says it holds, before a pixel is read: who, what, and in which file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import COLUMNS, Organ
from fedcxr.errors import DataError

Decoder = Literal["image", "dicom"]
MISSING = "missing"  # the reason of a film that the table names and the disk lacks


@dataclass(frozen=True)
class Problem:
    """One film or table row that cannot be used, and why. Names a file as the hospital knows it: never released."""

    file: str
    reason: str


@dataclass(frozen=True)
class InTable:
    """What a table names, whether or not it lies on the disk."""

    films: int
    patients: int

    @classmethod
    def of(cls, films: pd.DataFrame) -> InTable:
        """A row per film, under original names."""
        return cls(len(films), int(films["patient"].nunique()))


@dataclass(frozen=True)
class Listing:
    """An index without pixels, and the file behind each of its rows."""

    index: pd.DataFrame  # n rows: COLUMNS (patient and image are pseudonyms) and one float32 column per finding
    files: Sequence[Path]  # n paths, which stay at the hospital: they never enter an index, a shard or a log
    findings: tuple[str, ...]
    spellings: Mapping[str, str]  # each column or word for a finding, as the source writes it, and which of ours it is
    problems: tuple[Problem, ...] = ()  # rows of the table that were left out
    decoder: Decoder = "image"
    masks: Mapping[Organ, Sequence[Path | None]] = field(default_factory=dict)  # n files each; None: that film has none
    boxes: pd.DataFrame | None = None  # cohort.BOXES; None: the source has none
    notes: tuple[Problem, ...] = ()  # worth telling, but nothing to stop at: an implausible age, an absence asked for
    table: InTable | None = None  # None: nothing is named but what lies on the disk
    read: tuple[str, ...] = ()  # how the table was read where nobody said how, for its owner alone
    guessed: str = ""  # of that, what may be told to anybody
    doubts: tuple[str, ...] = ()  # what its owner should look at: labels that may not mean what they seem to

    def __post_init__(self) -> None:
        strange = set(self.spellings.values()).difference(self.findings)
        if strange:
            raise DataError("a listing spells findings that it lacks", given=", ".join(sorted(strange)))
        if any(len(files) != len(self.files) for files in self.masks.values()):
            raise DataError("a listing names one mask or none for each film", given=", ".join(self.masks))
        missing = [c for c in (*COLUMNS, *self.findings) if c not in self.index.columns]
        if missing or len(self.index) != len(self.files):
            raise DataError(
                "a listing needs one file per row and all columns", given=f"{len(self.files)} files, lacks {missing}"
            )

    def annotated(self, films: npt.NDArray[np.intp]) -> dict[str, int]:
        """How many of these films have a mask of each organ, and how many a box."""
        counts: dict[str, int] = {o: sum(files[film] is not None for film in films) for o, files in self.masks.items()}
        return counts if self.boxes is None else {**counts, "boxes": int(np.isin(films, self.boxes["film"]).sum())}
