"""Any folder of images with a table (CSV or Parquet) whose columns the scenario names.

cohort:
  source: folder
  root: /data/covid
  columns: {image: filename, patient: patientid, visit: offset, view: view, age: age, sex: sex}
  findings: {label: finding, separator: ","}
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal, Self

import numpy as np
import pandas as pd
import pydantic

from fedcxr.data import _demographics
from fedcxr.data._decode import Unusable
from fedcxr.data._inside import Inside
from fedcxr.data._listing import Listing, Problem
from fedcxr.data._own_table import Findings, SourceName, existing, numbered_sources, read_own_table, split_of
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import pseudonymous, site_secret
from fedcxr.data._seen import Watched
from fedcxr.data._splits import Splits, refuse_shared_patients
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

    def needs(self) -> tuple[Path, ...]:
        return (*super().needs(), existing(Path(self.root).expanduser() / self.table))

    def watched(self) -> Watched:
        root = Path(self.root).expanduser()
        return Watched((root / self.table, *self.splits.files(root).values()), (root / self.images,), below=True)

    def listing(self) -> Listing:
        root = Path(self.root).expanduser()
        table = read_own_table(root / self.table, (*self.columns.needed, *self.findings.needed))
        films = self._films(table)
        findings, spellings = self.findings.read(table)
        films = pd.concat([films, findings], axis=1)
        if self.views == "frontal":
            films = films[films["view"] != "LATERAL"]
        there, problems = _located(root / self.images, films["image"])
        if not there.any() and not problems:
            raise DataError("the table names no film", given=f"{table.path.name}, views {self.views}")

        films = films[there]
        index, order = pseudonymous(films, self.called, site_secret())
        index["source"] = films["source"].to_numpy(dtype=object)[order]
        refuse_shared_patients(index)
        names = films["image"].to_numpy(dtype=object)[order]
        files = Paths([root / self.images], np.zeros(len(names), dtype=np.intp), names)
        return Listing(index, files, tuple(findings.columns), spellings, problems)

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
        return films.assign(split=split_of(self.splits, Path(self.root).expanduser(), films, table, columns.split))


def _located(folder: Path, images: pd.Series) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], tuple[Problem, ...]]:
    """Which of these images are files in the folder, and what is wrong with the others."""
    inside = Inside(folder)
    there, problems = np.ones(len(images), dtype=np.bool_), []
    for row, name in enumerate(images):
        try:
            inside.file(name)
        except Unusable as why:
            there[row] = False
            problems.append(Problem(name, str(why)))
    return there, tuple(problems)
