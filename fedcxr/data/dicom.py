"""A folder of DICOM files: who and when stand in their headers, findings (if there are any) in a table beside them.

Of a header only view, age in years, sex and the order of the studies enter the index; the patient's number and the
file's name become pseudonyms, dates become 0, 1, 2 ..., and everything else is not even read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.data import _demographics
from fedcxr.data._decode import Unusable
from fedcxr.data._dicom_pixels import decode_dicom, library, read_header
from fedcxr.data._fingerprint import WatchedPaths
from fedcxr.data._inside import Inside
from fedcxr.data._listing import Listing, Problem
from fedcxr.data._own_table import Findings, OwnTable, SourceName, existing, split_of
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import Secret, pseudonymous, site_secret
from fedcxr.data._splits import Named, Splits, refuse_shared_patients
from fedcxr.data._tables import Paths, Table
from fedcxr.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

KEYWORDS = (
    "SOPInstanceUID",
    "PatientID",
    "PatientBirthDate",
    "PatientAge",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ViewPosition",
    "BurnedInAnnotation",
)
NOBODY = {"", "0", "anon", "anonymous", "anonymized", "anonymised", "none", "unknown"}  # would all be one patient
SUFFIXES = (".dcm", ".dicom")  # files of other names are DICOM if they begin as such

__all__ = ["Dicom", "decode_dicom"]


class Columns(pydantic.BaseModel):
    """What the table calls things that no header tells."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    image: str = pydantic.Field("image", description="Path of the file, from `root`.")
    split: str | None = pydantic.Field(None, description="train, val or test.")


class Dicom(Packed):
    """DICOM files below a folder, of which a table may tell findings and splits."""

    table: str | None = pydantic.Field(None, description="CSV or Parquet file, from `root`; none: every DICOM file.")
    called: SourceName = "dicom"
    columns: Columns = Columns()
    findings: Findings = Findings()
    views: Literal["frontal", "all"] = "frontal"
    burned_in: Literal["note", "refuse"] = pydantic.Field(
        "note", description="Films whose header says that text is burned into them, which may be a name."
    )
    splits: Splits = pydantic.Field(Splits(), description="official: the table's column, or by chance if it has none.")

    @pydantic.model_validator(mode="after")
    def _table_for_columns(self) -> Dicom:
        if self.table is None and (self.findings.needed or self.columns.split is not None):
            raise ValueError("findings and splits stand in columns of a `table`, and none is given")
        return self

    def required_files(self) -> tuple[Path, ...]:
        library()
        table = () if self.table is None else (existing(Path(self.root).expanduser() / self.table),)
        return (*super().required_files(), *table)

    def watched(self) -> WatchedPaths:
        root = Path(self.root).expanduser()
        tables = () if self.table is None else (root / self.table,)
        return WatchedPaths((*tables, *self.splits.files(root).values()), (root,), below=True)

    def listing(self, secret: Secret | None = None) -> Listing:
        secret = secret or site_secret()
        root = Path(self.root).expanduser()
        library()
        table = self._table(root)
        findings, spellings = self.findings.read(table)
        headers, problems, notes = self._headers(Inside(root), table)
        films = self._films(root, headers, table, secret)
        if films.empty and not problems:
            raise DataError("there is no film", given=f"{root}, views {self.views}")

        index, order = pseudonymous(films.join(findings), self.called, secret)
        refuse_shared_patients(index)
        names = films["image"].to_numpy(dtype=object)[order]
        files = Paths([root], np.zeros(len(names), dtype=np.intp), names)
        told = (tuple(findings.columns), spellings, tuple(problems))
        return Listing(index, files, *told, decoder="dicom", notes=tuple(notes))

    def _table(self, root: Path) -> Table:
        """The table of findings; without one, a table of the files that are there."""
        image = self.columns.image
        if self.table is None:
            return Table(root, pd.DataFrame({image: list(_files(root))}, dtype=object))
        needed = [image, *self.findings.needed, *filter(None, [self.columns.split])]
        table = OwnTable.at(root / self.table).read(needed)
        names = table.rows[image].str.strip()
        table.refuse(names == "", f"column {image!r} is blank", do="name the file of every row")
        names = names.map(lambda name: str(PurePosixPath(name.replace("\\", "/"))))
        table.refuse(names.duplicated(keep=False), "the same file stands twice", do="keep one row per film")
        return Table(table.path, table.rows.assign(**{image: names}))

    def _headers(self, inside: Inside, table: Table) -> tuple[pd.DataFrame, list[Problem], list[Problem]]:
        """What the headers say, as text under the table's row numbers; what is no film; what should be looked at."""
        headers: dict[Hashable, dict[str, str]] = {}
        problems, notes, seen = [], [], set()
        for row, name in table.rows[self.columns.image].items():
            try:
                header = _header(read_header(inside.file(name), list(KEYWORDS)))
                burned_in, film = header["BurnedInAnnotation"], header["SOPInstanceUID"]
                if film and film in seen:
                    raise Unusable("a copy: another file holds the same film")
                if burned_in == "YES" and self.burned_in == "refuse":
                    raise Unusable("burned-in text")
            except Unusable as why:
                problems.append(Problem(name, str(why)))
                continue
            if burned_in != "NO":
                said = "says so" if burned_in == "YES" else "does not rule it out"
                notes.append(Problem(name, f"burned-in text: the header {said}, so look whether it names the patient"))
            seen.add(film)
            headers[row] = {"image": name, **header}
        read = pd.DataFrame.from_dict(headers, orient="index", columns=["image", *KEYWORDS], dtype=object)
        return read, problems, notes

    def _films(self, root: Path, headers: pd.DataFrame, table: Table, secret: Secret) -> pd.DataFrame:
        """Who the headers name, and their splits, under original names."""
        patient = headers["PatientID"].to_numpy(dtype=object)
        films = pd.DataFrame(
            {
                "image": headers["image"],
                "patient": patient,
                "visit": _demographics.visits(patient, _moments(headers)),
                "view": _demographics.views(headers["ViewPosition"]),
                "age": _ages(headers),
                "sex": _demographics.sexes(headers["PatientSex"]),
            },
            index=headers.index,
        )
        theirs = Table(table.path, table.rows.loc[headers.index])
        films["split"] = split_of(self.splits, root, Named.of(films, self.called, secret), theirs, self.columns.split)
        return films if self.views == "all" else films[films["view"] != "LATERAL"]


def _files(root: Path) -> Iterator[str]:
    """Every DICOM file below a folder, by its path from there; links to folders are not followed."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if name.upper() != "DICOMDIR" and (name.lower().endswith(SUFFIXES) or _begins_as_dicom(path)):
                yield path.relative_to(root).as_posix()


def _begins_as_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return True  # it cannot be read: let the report say so


def _header(dataset: Dataset) -> dict[str, str]:
    """The elements as text, once it is sure that they name a patient."""
    header = {keyword: str(dataset.get(keyword) or "").strip(" \0") for keyword in KEYWORDS}
    if header["PatientID"].lower() in NOBODY:
        raise Unusable("no patient: PatientID is blank or a placeholder")
    return header | {"BurnedInAnnotation": header["BurnedInAnnotation"].upper()}


def _moments(headers: pd.DataFrame) -> pd.Series[str]:
    """When each study was made, as numbers that sort; blank where the header has no date."""
    dates, times = headers["StudyDate"].map(_date), headers["StudyTime"].str.replace(":", "")
    clock = times.where(times.str.fullmatch(r"[0-9]{2,6}(?:\.[0-9]*)?"), "").str[:6].str.ljust(6, "0")
    return dates.where(dates == "", dates + clock)


def _ages(headers: pd.DataFrame) -> npt.NDArray[np.float32]:
    """Years as written, else the birthdays passed by the day of the study."""
    written = _demographics.ages(headers["PatientAge"])
    born, seen = (headers[keyword].map(_date) for keyword in ("PatientBirthDate", "StudyDate"))
    passed = [str((int(s) - int(b)) // 10_000) if b and s else "" for b, s in zip(born, seen, strict=True)]
    return np.where(np.isnan(written), _demographics.ages(pd.Series(passed, dtype=object)), written)


def _date(text: str) -> str:
    """YYYYMMDD from that or from the older YYYY.MM.DD; blank if it is neither."""
    digits = text.replace(".", "")
    return digits if re.fullmatch(r"[12][0-9]{7}", digits) else ""
