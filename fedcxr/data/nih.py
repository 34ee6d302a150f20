"""NIH ChestX-ray14 as it is downloaded (Wang et al., CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.cohort import FINDINGS, Annotation
from fedcxr.data._fingerprint import WatchedPaths
from fedcxr.data._listing import InTable, Listing, Problem
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import Secret, pseudonymous, site_secret
from fedcxr.data._splits import Named, Splits, by_chance, by_lists, read_list, refuse_shared_patients
from fedcxr.data._tables import Paths, Table, absent, find
from fedcxr.data._vocabulary import canonical
from fedcxr.errors import DataError, StorageError

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")  # the newer one corrects ages
BOXES = "BBox_List_2017.csv"
TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"
SIDE = 1024  # pixels of a published film, and the unit of the boxes

COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
IMAGE = r"[0-9]{8}_[0-9]{3}\.png"

OLDEST = 120  # the first table has ages such as 411
IN_A_YEAR = {"": 1, "Y": 1, "M": 12, "D": 365}


class Nih(Packed):
    """The download's folder: its table, its lists, and images in images_001 ... images_012 or all in one folder."""

    paper: ClassVar[str | None] = "Wang et al.: ChestX-ray8. CVPR 2017"

    table: str | None = pydantic.Field(None, description="Another table than the newest in `root`.")
    views: Literal["all", "PA", "AP"] = "all"
    splits: Splits = Splits()
    boxes: bool = pydantic.Field(False, description=f"Read radiologists' boxes, which {BOXES} holds for 880 films.")
    allow_missing: bool = pydantic.Field(False, description="Go on without images that the table names.")

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return ("boxes",) if self.boxes else ()

    def required_files(self) -> tuple[Path, ...]:
        needed = super().required_files()
        return (*needed, self._box_table()) if self.boxes else needed

    def listing(self, secret: Secret | None = None) -> Listing:
        secret = secret or site_secret()
        root = Path(self.root).expanduser()
        films, spellings, notes = self._films(root, secret)
        images = _images(root)
        there = films["image"].isin(images.keys()).to_numpy()
        missing = absent(films["image"].to_numpy(dtype=object), there)
        problems, noted = ((), missing) if self.allow_missing and there.any() else (missing, ())
        table = InTable.of(films)
        films = films[there]

        index, order = pseudonymous(films, self.plugin_name(), secret)
        refuse_shared_patients(index)
        names = films["image"].to_numpy(dtype=object)[order]
        folders = list(dict.fromkeys(images.values()))
        number = {folder: i for i, folder in enumerate(folders)}
        files = Paths(folders, np.array([number[images[name]] for name in names], dtype=np.intp), names)
        boxes = self._boxes_on(names) if self.boxes else None
        told = (FINDINGS, spellings, problems)
        return Listing(index, files, *told, boxes=boxes, notes=(*notes, *noted), table=table)

    def watched(self) -> WatchedPaths:
        root = Path(self.root).expanduser()
        # The usual tables lie in the root, and so does that of boxes.
        tables = (root / Path(self.table).expanduser(),) if self.table else ()
        return WatchedPaths((*tables, *self.splits.files(root).values()), tuple(_folders(root)))

    def _box_table(self) -> Path:
        path = find(Path(self.root).expanduser(), BOXES)
        if path is None:
            raise DataError("the folder lacks the table of boxes", given=self.root, allowed=BOXES)
        return path

    def _boxes_on(self, images: npt.NDArray[np.object_]) -> pd.DataFrame:
        """Radiologists' boxes on these films, in pixels of the films as they are packed."""
        boxes = read_boxes(self._box_table())
        place = {image: film for film, image in enumerate(images)}
        boxes = boxes[boxes["image"].isin(place.keys())]
        shares = boxes[["x", "y", "width", "height"]].to_numpy()
        packed = pd.DataFrame(shares * self.size, columns=["x", "y", "w", "h"])
        packed.insert(0, "film", boxes["image"].map(place).to_numpy(dtype=np.intp))
        packed.insert(1, "finding", boxes["finding"].to_numpy(dtype=object))
        return packed.sort_values("film", kind="stable", ignore_index=True)

    def _films(self, root: Path, secret: Secret) -> tuple[pd.DataFrame, dict[str, str], tuple[Problem, ...]]:
        """Who and what the table names, with its split, under original names, and how it spells findings."""
        path = root / Path(self.table).expanduser() if self.table else find(root, *TABLES)
        if path is None:
            raise DataError(
                "the folder lacks the table of ChestX-ray14",
                given=root,
                allowed=" or ".join(TABLES),
                do="set cohort.root to the folder of the download",
            )
        films, spellings, notes = read_films(path)
        films["split"] = self._split(root, films, secret)
        if self.views != "all":
            films = films[films["view"] == self.views]
        if films.empty:
            raise DataError("the table names no film", given=f"{path}, views {self.views}")
        return films, spellings, notes

    def _split(self, root: Path, films: pd.DataFrame, secret: Secret) -> npt.NDArray[np.object_]:
        named = Named.of(films, self.plugin_name(), secret)
        if self.splits.by == "random":
            return by_chance(named.people, self.splits)
        files = self.splits.files(root) or {"train": root / TRAIN_VAL, "test": root / TEST}
        # A list may name patients instead of films, as the table does (1) or as the films do (00000001).
        lists = {
            split: [name.zfill(8) if name.isdecimal() else name for name in read_list(path)]
            for split, path in files.items()
        }
        return by_lists(lists, named, self.splits)


def read_films(path: Path) -> tuple[pd.DataFrame, dict[str, str], tuple[Problem, ...]]:
    """Data_Entry_2017*.csv: a row per film with image, patient, visit, view, age, sex and 14 findings.

    And how the table spells the findings, and what is odd in it.
    """
    # The header's last two names contain commas, so that nine names and eleven fields come out as eleven columns.
    table = Table.read(path, COLUMNS)
    image = table.rows["Image Index"].str.strip()
    table.refuse(~image.str.fullmatch(IMAGE), "not the name of an image", allowed="00000001_000.png")
    table.refuse(image.duplicated(keep=False), "the same image stands twice", do="keep one row per image")
    patient = table.meanings("Patient ID", _patient, "not a patient's number", allowed="1 or 00000001")
    table.refuse(image.str[:8] != patient, "image and Patient ID belong to two patients", do="repair the table")
    follow_up = table.meanings("Follow-up #", _number, "not a follow-up number", allowed="0, 1, 2 ...")
    view = table.meanings("View Position", {"PA": "PA", "AP": "AP"}.get, "not a view", allowed="PA or AP")
    sex = table.meanings("Patient Gender", {"M": "M", "F": "F"}.get, "not a sex", allowed="M or F")
    age = table.meanings("Patient Age", _years, "not an age", allowed="58, 058Y, 011M or 003D").astype(np.float64)
    films = pd.DataFrame(
        {
            "image": image.to_numpy(dtype=object),
            "patient": patient,
            "visit": follow_up.astype(np.int64),
            "view": view,
            "age": age,
            "sex": sex,
        }
    )
    findings, spellings = _findings(table)
    return pd.concat([films, findings], axis=1), spellings, table.notes(np.isnan(age), "Patient Age", "unknown age")


def read_boxes(path: Path) -> pd.DataFrame:
    """BBox_List_2017.csv: image (original name), finding, and x, y, width, height as shares of the film's side."""
    # The header says `Bbox [x,y,w,h]` followed by three empty names, of which pandas makes these.
    header = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
    table = Table.read(path, header)
    rows = table.rows
    finding = rows["Finding Label"].map(canonical)
    table.refuse(~finding.isin(FINDINGS), "unknown finding", allowed=", ".join(FINDINGS))
    corners = rows[header[2:]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64) / SIDE
    inside = (corners >= 0).all(axis=1) & (corners[:, :2] + corners[:, 2:] <= 1).all(axis=1)
    table.refuse(~inside, "a box that does not lie on the film", allowed=f"0 to {SIDE} pixels")
    boxes = pd.DataFrame(corners, columns=["x", "y", "width", "height"])
    boxes.insert(0, "image", rows["Image Index"].str.strip().to_numpy(dtype=object))
    boxes.insert(1, "finding", finding.to_numpy(dtype=object))
    return boxes


def _findings(table: Table) -> tuple[pd.DataFrame, dict[str, str]]:
    codes, combinations = pd.factorize(table.rows["Finding Labels"])
    shown = np.zeros((len(combinations), len(FINDINGS)), dtype=np.float32)
    spellings: dict[str, str] = {}
    for row, combination in zip(shown, combinations, strict=True):
        written = [name.strip() for name in combination.split("|")]
        if written == ["No Finding"]:
            continue
        names = [canonical(name) for name in written]
        spellings.update(zip(written, names, strict=True))
        unknown = [name for name in names if name not in FINDINGS]  # No Finding beside a finding, too
        if unknown:
            allowed = f"No Finding alone, or {'|'.join(FINDINGS)}"
            raise DataError(f"{table.path.name}: unknown finding", given=repr(unknown[0]), allowed=allowed)
        row[[FINDINGS.index(name) for name in names]] = 1
    # A finding that no row shows was looked for all the same.
    unseen = {name: name for name in FINDINGS if name not in spellings.values()}
    return pd.DataFrame(shown[codes], columns=list(FINDINGS)), spellings | unseen


def _patient(text: str) -> str | None:
    """As the names of the images have it."""
    return text.zfill(8) if re.fullmatch("[0-9]{1,8}", text) else None


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,4}", text) else None


def _years(text: str) -> float:
    """NaN where nobody is that old, or nobody can tell."""
    parts = re.fullmatch("([0-9]{1,4})([YMD]?)", text)
    years = int(parts[1]) / IN_A_YEAR[parts[2]] if parts else np.nan
    return years if years <= OLDEST else np.nan


def _folders(root: Path) -> list[Path]:
    """Where films may lie: in the download's twelve folders, in `images`, or in the folder itself."""
    folders = [root, root / "images", *sorted(root.glob("images_*/images")), *sorted(root.glob("images_*"))]
    return [folder for folder in folders if folder.is_dir()]


def _images(root: Path) -> dict[str, Path]:
    """Where each PNG lies."""
    found: dict[str, Path] = {}
    try:
        for folder in _folders(root):
            with os.scandir(folder) as entries:
                here = {entry.name for entry in entries if entry.name.endswith(".png")}
            twice = len(here & found.keys())
            if twice:
                where = folder.relative_to(root)  # the rest of the path is nobody else's business
                raise DataError("images lie in two folders", given=f"{twice}, also in {where}", do="keep one of each")
            found.update(dict.fromkeys(here, folder))
    except OSError as error:
        raise StorageError("cannot list the images", given=root, do=error.strerror or "") from None
    return found
