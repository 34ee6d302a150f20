"""Any folder of images with a table (CSV or Parquet) whose columns the scenario names.

cohort:
  source: folder
  root: /data/covid
  columns: {image: filename, patient: patientid, visit: offset, view: view, age: age, sex: sex}
  findings: {label: finding, separator: ","}
  masks: {lungs: masks_v7}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.cohort import ORGANS, Annotation, Organ
from fedcxr.data import _demographics
from fedcxr.data._decode import Unusable
from fedcxr.data._fingerprint import WatchedPaths
from fedcxr.data._inside import Inside
from fedcxr.data._listing import Listing, Problem
from fedcxr.data._own_table import Findings, SourceName, existing, numbered_sources, read_own_table, split_of
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import pseudonymous, site_secret
from fedcxr.data._splits import Named, Splits, refuse_shared_patients
from fedcxr.data._tables import Paths, Table
from fedcxr.errors import DataError


class Columns(pydantic.BaseModel):
    """What the table calls things; only the image and the patient must be there."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    image: str = "image"
    patient: str = "patient"
    visit: str | None = pydantic.Field(None, description="Dates or numbers that order a patient's films; none: rows.")
    view: str | None = None
    age: str | None = None
    sex: str | None = None
    source: str | None = pydantic.Field(None, description="Ward, scanner, hospital: enters the index as a number.")
    split: str | None = pydantic.Field(None, description="train, val or test.")

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of the table it reads."""
        return tuple(column for column in self.model_dump().values() if column is not None)


class Folder(Packed):
    """PNG, JPEG, TIFF or BMP films, and a table with a row for each."""

    table: str = pydantic.Field("metadata.csv", min_length=1, description="CSV or Parquet file, from `root`.")
    images: str = pydantic.Field("images", description="Folder that the table's names of images start from, in `root`.")
    masks: str | dict[Organ, str] = pydantic.Field(
        {},
        description="Folder in `root` of PNG masks, for each organ: black outside, called as the films but for the "
        "ending. A film may have none. A name alone is the folder of the lungs.",
    )
    called: SourceName = "folder"
    columns: Columns = Columns()
    findings: Findings = Findings()
    views: Literal["all", "frontal"] = pydantic.Field(
        "all", description="frontal: without those the table calls lateral."
    )
    splits: Splits = pydantic.Field(Splits(), description="official: the table's column, or by chance if it has none.")

    @pydantic.model_validator(mode="after")
    def _views_are_told(self) -> Self:
        if self.views != "all" and self.columns.view is None:
            raise ValueError("views stand in a column of the table, and `columns.view` names none")
        return self

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return tuple(organ for organ in ORGANS if organ in self._mask_folders)

    def required_files(self) -> tuple[Path, ...]:
        needed = (*super().required_files(), existing(Path(self.root).expanduser() / self.table))
        for organ, folder in self._mask_folders.items():
            if not folder.is_dir():
                raise DataError(
                    f"there is no such folder of masks of the {organ}", given=self._named[organ], do="check masks"
                )
        return needed

    def watched(self) -> WatchedPaths:
        root = Path(self.root).expanduser()
        folders = (root / self.images, *self._mask_folders.values())
        return WatchedPaths((root / self.table, *self.splits.files(root).values()), folders, below=True)

    @property
    def _named(self) -> dict[Organ, str]:
        return {"lungs": self.masks} if isinstance(self.masks, str) else self.masks

    @property
    def _mask_folders(self) -> dict[Organ, Path]:
        return {organ: Path(self.root).expanduser() / self._named[organ] for organ in ORGANS if organ in self._named}

    def listing(self) -> Listing:
        root = Path(self.root).expanduser()
        table = read_own_table(root / self.table, (*self.columns.needed, *self.findings.needed))
        films = self._films(table)
        findings, spellings = self.findings.read(table)
        films = pd.concat([films, findings], axis=1)
        if self.views == "frontal":
            films = films[films["view"] != "LATERAL"]
        there, masks, problems = _located(root / self.images, films["image"], self._mask_folders)
        if not there.any() and not problems:
            raise DataError("the table names no film", given=f"{table.path.name}, views {self.views}")

        for organ, drawn in masks.items():
            if not any(drawn):
                raise DataError(f"no film has a mask of the {organ}", given=self._named[organ], do="check masks")
        films = films[there]
        index, order = pseudonymous(films, self.called, site_secret())
        index["source"] = films["source"].to_numpy(dtype=object)[order]
        refuse_shared_patients(index)
        names = films["image"].to_numpy(dtype=object)[order]
        files = Paths([root / self.images], np.zeros(len(names), dtype=np.intp), names)
        ordered = {organ: [drawn[row] for row in order] for organ, drawn in masks.items()}
        return Listing(index, files, tuple(findings.columns), spellings, problems, masks=ordered)

    def _films(self, table: Table) -> pd.DataFrame:
        """Who the table names, and their splits, under original names."""
        columns = self.columns
        rows = table.rows.apply(lambda texts: texts.str.strip())
        blank = pd.Series("", index=rows.index)
        table.refuse(rows[columns.image] == "", f"column {columns.image!r} is blank")
        table.refuse(rows[columns.patient] == "", f"column {columns.patient!r} is blank")
        image = rows[columns.image].map(lambda name: str(PurePosixPath(name.replace("\\", "/"))))
        table.refuse(image.duplicated(keep=False), "the same image stands twice", do="keep one row per image")
        patient = rows[columns.patient].to_numpy(dtype=object)
        source = self.called if columns.source is None else numbered_sources(self.called, rows[columns.source])
        films = pd.DataFrame(
            {
                "image": image,
                "patient": patient,
                "visit": _demographics.visits(patient, None if columns.visit is None else rows[columns.visit]),
                "view": _demographics.views(blank if columns.view is None else rows[columns.view]),
                "age": _demographics.ages(blank if columns.age is None else rows[columns.age]),
                "sex": _demographics.sexes(blank if columns.sex is None else rows[columns.sex]),
                "source": source,
            },
            index=rows.index,
        )
        root, named = Path(self.root).expanduser(), Named.of(films, self.called)
        return films.assign(split=split_of(self.splits, root, named, table, columns.split))


Drawn = dict[Organ, list[Path | None]]


def _located(
    folder: Path, images: pd.Series, mask_folders: Mapping[Organ, Path]
) -> tuple[npt.NDArray[np.bool_], Drawn, tuple[Problem, ...]]:
    """Which of these images are files in the folder, the masks of those, and what is wrong with the others."""
    inside = Inside(folder)
    beside = {organ: Inside(masks) for organ, masks in mask_folders.items()}
    there, problems = np.ones(len(images), dtype=np.bool_), []
    drawn: Drawn = {organ: [] for organ in mask_folders}
    for row, name in enumerate(images):
        try:
            inside.file(name)
            found = {organ: _mask(organ, masks, name) for organ, masks in beside.items()}
        except Unusable as why:
            there[row] = False
            problems.append(Problem(name, str(why)))
            continue
        for organ, path in found.items():
            drawn[organ].append(path)
    return there, drawn, tuple(problems)


def _mask(organ: Organ, folder: Inside, image: str) -> Path | None:
    """The file of a film's mask; None where nobody drew one."""
    name = str(PurePosixPath(image).with_suffix(".png"))
    try:
        return folder.file(name) if folder.has(name) else None
    except Unusable as why:
        raise Unusable(f"mask of the {organ}: {why}") from None
