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
from dataclasses import dataclass
from functools import partial
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
from fedcxr.data._guess import Guess
from fedcxr.data._inside import Inside
from fedcxr.data._listing import InTable, Listing, Problem
from fedcxr.data._own_table import (
    PARQUET,
    Findings,
    OwnTable,
    SourceName,
    existing,
    names_splits,
    numbered_sources,
    split_of,
)
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import Secret, pseudonymous, site_secret
from fedcxr.data._splits import Named, Splits, refuse_shared_patients
from fedcxr.data._tables import PUBLISHED, Paths, Table
from fedcxr.errors import DataError

TABLE, IMAGES = "metadata.csv", "images"  # where both are, unless somebody says otherwise
TABLES = (".csv", ".csv.gz", ".tsv", *PARQUET)


class Columns(pydantic.BaseModel):
    """What the table calls things; only the image and the patient must be there.

    What is not said is guessed: `data check` tells how.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    image: str | None = pydantic.Field(None, description="Name of the film's file; none: image, filename, path, ...")
    patient: str | None = pydantic.Field(None, description="Whose film it is; none: patient, patientid, subject, ...")
    visit: str | None = pydantic.Field(None, description="Dates or numbers that order a patient's films; none: rows.")
    view: str | None = pydantic.Field(None, description="PA, AP or lateral; none: view, projection, ...")
    age: str | None = pydantic.Field(None, description="Years, or as DICOM has them; none: age, patientage, ...")
    sex: str | None = pydantic.Field(None, description="Letters or words; none: sex, gender, ...")
    source: str | None = pydantic.Field(None, description="Ward, scanner, hospital: enters the index as a number.")
    split: str | None = pydantic.Field(None, description="train, val or test; none: split, if that is what it holds.")

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of the table it reads."""
        return tuple(column for column in self.model_dump().values() if column is not None)


class Folder(Packed):
    """PNG, JPEG, TIFF or BMP films, and a table with a row for each."""

    table: str | None = pydantic.Field(
        None, min_length=1, description="CSV or Parquet file, from `root`; none: metadata.csv, or the only table there."
    )
    images: str | None = pydantic.Field(
        None,
        description="Folder that the table's names of images start from, in `root`; none: images, or `root` itself "
        "where there is no such folder.",
    )
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
        needed = (*super().required_files(), existing(self._table))
        for organ, folder in self._mask_folders.items():
            if not folder.is_dir():
                raise DataError(
                    f"there is no such folder of masks of the {organ}", given=self._named[organ], do="check masks"
                )
        return needed

    def watched(self) -> WatchedPaths:
        root = Path(self.root).expanduser()
        folders = (self._images, *self._mask_folders.values())
        return WatchedPaths((self._table, *self.splits.files(root).values()), folders, below=True)

    @property
    def _named(self) -> dict[Organ, str]:
        return {"lungs": self.masks} if isinstance(self.masks, str) else self.masks

    @property
    def _mask_folders(self) -> dict[Organ, Path]:
        return {organ: Path(self.root).expanduser() / self._named[organ] for organ in ORGANS if organ in self._named}

    @property
    def _table(self) -> Path:
        root = Path(self.root).expanduser()
        return root / self.table if self.table is not None else usual_table(root)

    @property
    def _images(self) -> Path:
        root = Path(self.root).expanduser()
        usual = root / IMAGES
        return root / self.images if self.images is not None else usual if usual.is_dir() else root

    def listing(self, secret: Secret | None = None) -> Listing:
        secret = secret or site_secret()
        own = OwnTable.at(self._table)
        reading = Reading.of(own, self.columns, self.findings)
        table = own.read((*reading.columns.needed, *reading.findings.needed))
        films = self._films(table, reading.columns, secret)
        named = InTable.of(films)
        findings, spellings = reading.findings.read(table)
        films = pd.concat([films, findings], axis=1)
        if self.views == "frontal":
            films = films[films["view"] != "LATERAL"]
        there, masks, problems = _located(self._images, films["image"], self._mask_folders)
        if not there.any() and not problems:
            raise DataError("the table names no film", given=f"{table.path.name}, views {self.views}")

        for organ, drawn in masks.items():
            if there.any() and not any(drawn):
                raise DataError(f"no film has a mask of the {organ}", given=self._named[organ], do="check masks")
        films = films[there]
        index, order = pseudonymous(films, self.called, secret)
        index["source"] = films["source"].to_numpy(dtype=object)[order]
        refuse_shared_patients(index)
        names = films["image"].to_numpy(dtype=object)[order]
        files = Paths([self._images], np.zeros(len(names), dtype=np.intp), names)
        return Listing(
            index,
            files,
            tuple(findings.columns),
            spellings,
            problems,
            masks={organ: [drawn[row] for row in order] for organ, drawn in masks.items()},
            table=named,
            read=(*reading.told, *self._where),
            guessed=reading.guessed,
            doubts=reading.findings.doubts(table),
        )

    @property
    def _where(self) -> tuple[str, ...]:
        told = [] if self.table is not None or self._table.name == TABLE else [f"the table is {self._table.name}"]
        if self.images is None and self._images.name != IMAGES:
            told.append(f"there is no folder {IMAGES}, so names of images start from root")
        return tuple(told)

    def _films(self, table: Table, columns: Columns, secret: Secret) -> pd.DataFrame:
        """Who the table names, and their splits, under original names."""
        assert columns.image is not None
        assert columns.patient is not None
        rows = table.rows.apply(lambda texts: texts.str.strip())
        blank = pd.Series("", index=rows.index)
        table.refuse(rows[columns.image] == "", f"column {columns.image!r} is blank")
        table.refuse(rows[columns.patient] == "", f"column {columns.patient!r} is blank")
        image = rows[columns.image].map(partial(_below, self._images.name))
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
        root, named = Path(self.root).expanduser(), Named.of(films, self.called, secret)
        return films.assign(split=split_of(self.splits, root, named, table, columns.split))


@dataclass(frozen=True)
class Reading:
    """What a table's columns mean: as was said, or else as their names have it."""

    columns: Columns
    findings: Findings
    guessed: str  # for people; blank: all was said
    told: tuple[str, ...]  # for the table's owner alone

    @classmethod
    def of(cls, table: OwnTable, columns: Columns, findings: Findings) -> Reading:
        """Of a table of which some columns may have been named."""
        guess = Guess.of(columns.model_dump(), table.names, table.path.name)
        if "split" in guess.guessed and not names_splits(table, str(guess.columns["split"])):
            guess = guess.without("split")
        meant = Columns.model_validate(guess.columns)
        found = findings if findings.said else findings.guessed(table, meant.needed)
        parts = [str(guess)] if guess else []
        parts += [str(found)] if found != findings else []
        unread = [name for name in table.names if name and name not in (*meant.needed, *found.needed)]
        guessed = f"guessed: {'; '.join(parts)}" if parts else ""
        dialect = [] if table.dialect in (None, PUBLISHED) else [f"{table.path.name}: {table.dialect}"]
        told = [*filter(None, [guessed]), *dialect, *([f"not read: {', '.join(unread)}"] if unread else [])]
        return cls(meant, found, guessed, tuple(told))


def usual_table(root: Path) -> Path:
    """The table in a folder where nobody said which it is."""
    usual = root / TABLE
    if usual.is_file() or not root.is_dir():
        return usual
    tables = sorted(path for path in root.iterdir() if path.name.lower().endswith(TABLES) and path.is_file())
    if len(tables) > 1:
        do = "say which it is: --table FILE, or `table` in the scenario"
        raise DataError(f"there is no {TABLE}, and more than one table", given=f"{len(tables)} tables", do=do)
    return tables[0] if tables else usual


def _below(folder: str, name: str) -> str:
    """The name of an image, from the folder of images even where the table has them from the folder above."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(
        path.relative_to(IMAGES)
        if folder == IMAGES and path.is_relative_to(IMAGES) and path != PurePosixPath(IMAGES)
        else path
    )


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
