"""CheXpert v1.0 and v1.0-small as they are downloaded (Irvin et al., AAAI 2019).

*Our choices.* As in most papers a blank is taken as absent (`blank: zeros`), although the labeller only found no
mention; the published test films are not part of the download, so official splits keep valid.csv as val and take
test, patient by patient, out of train.csv; without valid.csv chance deals all three. Study numbers count studies;
they are not always in the order of time.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.data._listing import InTable, Listing, Problem
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import Secret, pseudonymous, site_secret
from fedcxr.data._splits import Named, Splits, by_chance, by_lists, carve, read_list, refuse_shared_patients
from fedcxr.data._tables import Paths, Table, absent, find
from fedcxr.data._vocabulary import harmonised, union
from fedcxr.errors import DataError

TRAIN, VALID = "train.csv", "valid.csv"
LABELS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
OURS = harmonised(LABELS)  # what the vocabulary calls each
FINDINGS = union(LABELS)  # the same in the vocabulary's order
HEALTHY = "No Finding"
UNCERTAIN = {"zeros": 0.0, "ones": 1.0, "ignore": np.nan}

OLDEST = 120
SIDES = {"Frontal": "frontal", "Lateral": "lateral"}
VIEWS = {"AP": "AP", "PA": "PA", "LL": "LL", "RL": "RL", "": "UNKNOWN"}
SEXES = {"Male": "M", "Female": "F", "Unknown": "U"}
FILM = (
    r"^(?:[^/]+/)?(?P<image>(?:train|valid)/(?P<patient>patient[0-9]{5})/study(?P<visit>[0-9]{1,4})"
    r"/view[0-9]{1,3}_(?P<side>frontal|lateral)\.jpg)$"
)


class Chexpert(Packed):
    """The download's folder: train.csv and valid.csv beside the folders train and valid, small or full size."""

    paper: ClassVar[str | None] = "Irvin et al.: CheXpert. AAAI 2019"
    deviations: ClassVar[str | None] = "a blank is taken as absent; test films are taken out of train.csv"

    views: Literal["frontal", "all"] = "frontal"
    uncertain: Literal["zeros", "ones", "ignore"] = pydantic.Field(
        "zeros", description="What an uncertain mention (-1) counts as; ignore: unknown."
    )
    blank: Literal["zeros", "ignore"] = pydantic.Field(
        "zeros", description="What no mention counts as; ignore: unknown, unless the report has no finding at all."
    )
    splits: Splits = Splits()
    allow_missing: bool = pydantic.Field(False, description="Go on without images that the tables name.")

    def listing(self, secret: Secret | None = None) -> Listing:
        secret = secret or site_secret()
        home = self._home()
        films, notes = self._films(home, secret)
        files = Paths([home], np.zeros(len(films), dtype=np.intp), films["image"].to_numpy(dtype=object))
        there = np.fromiter((os.access(file, os.F_OK) for file in files), dtype=np.bool_, count=len(files))
        missing = absent(films["image"].to_numpy(dtype=object), there)
        problems, noted = ((), missing) if self.allow_missing and there.any() else (missing, ())

        index, order = pseudonymous(films[there], self.plugin_name(), secret)
        refuse_shared_patients(index)
        found = files.take(np.flatnonzero(there)[order])
        return Listing(index, found, FINDINGS, OURS, problems, notes=(*notes, *noted), table=InTable.of(films))

    def _home(self) -> Path:
        """The folder of the tables: the one given, or the only CheXpert folder in it."""
        root = Path(self.root).expanduser()
        homes = [folder for folder in (root, *sorted(root.glob("CheXpert-v1.0*"))) if find(folder, TRAIN)]
        if not homes or (homes[0] != root and len(homes) > 1):
            raise DataError(
                "the folder holds not one CheXpert download",
                given=f"{root}, {TRAIN} in {len(homes)} folders",
                allowed=f"a folder with {TRAIN}",
                do="set cohort.root to the folder of the download, say CheXpert-v1.0-small",
            )
        return homes[0]

    def _films(self, home: Path, secret: Secret) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
        """Who and what the tables name, with its split, under original names."""
        parts: list[pd.DataFrame] = []
        notes: tuple[Problem, ...] = ()
        for name in (TRAIN, VALID):
            path = find(home, name)
            if path is not None:
                films, doubts = read_films(path, self.uncertain, self.blank)
                parts.append(films.assign(table=name))
                notes += doubts
        films = pd.concat(parts, ignore_index=True)
        if films["image"].duplicated().any():
            raise DataError(f"{TRAIN} and {VALID} name the same images", do="download them again")
        films["split"] = self._split(home, films, secret)
        if self.views == "frontal":
            films = films[films["view"] != "LATERAL"]
        if films.empty:
            raise DataError("the tables name no film", given=f"{home}, views {self.views}")
        return films.drop(columns="table"), notes

    def _split(self, home: Path, films: pd.DataFrame, secret: Secret) -> npt.NDArray[np.object_]:
        named = Named.of(films, self.plugin_name(), secret)
        valid = films["table"].to_numpy(dtype=object) == VALID
        if self.splits.by == "random" or (self.splits.by == "official" and not valid.any()):
            return by_chance(named.people, self.splits)
        if self.splits.by == "lists":
            files = self.splits.files(home)
            lists = {split: [_within(name) for name in read_list(path)] for split, path in files.items()}
            return by_lists(lists, named, self.splits)
        return carve(np.where(valid, "val", "train").astype(object), named.people, "test", self.splits)


def read_films(
    path: Path, uncertain: Literal["zeros", "ones", "ignore"] = "zeros", blank: Literal["zeros", "ignore"] = "zeros"
) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """train.csv or valid.csv: a row per film with image, patient, visit, view, age, sex and 13 findings."""
    table = Table.read(path, ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", HEALTHY, *LABELS])
    names = table.rows["Path"].str.strip().str.extract(FILM)
    table.refuse(names["image"].isna(), "not the path of a film", allowed="train/patient00001/study1/view1_frontal.jpg")
    table.refuse(names["image"].duplicated(keep=False), "the same image stands twice", do="keep one row per image")
    side = table.meanings("Frontal/Lateral", SIDES.get, "not a side", allowed=", ".join(SIDES))
    table.refuse(side != names["side"], "Frontal/Lateral contradicts the path", do="download the table again")
    view = table.meanings("AP/PA", VIEWS.get, "not a projection", allowed=", ".join(VIEWS))
    sex = table.meanings("Sex", SEXES.get, "not a sex", allowed=", ".join(SEXES))
    age = table.meanings("Age", _years, "not an age", allowed="a number").astype(np.float64)
    films = pd.DataFrame(
        {
            "image": names["image"].to_numpy(dtype=object),
            "patient": names["patient"].to_numpy(dtype=object),
            "visit": names["visit"].astype(np.int64).to_numpy(),
            "view": np.where(side == "frontal", view, "LATERAL"),
            "age": age,
            "sex": sex,
        }
    )
    findings = _findings(table, uncertain, blank)
    return pd.concat([films, findings], axis=1), table.notes(np.isnan(age), "Age", "unknown age")


def _findings(table: Table, uncertain: str, blank: str) -> pd.DataFrame:
    states = {"1": 1.0, "0": 0.0, "-1": UNCERTAIN[uncertain], "": 0.0 if blank == "zeros" else np.nan}

    def state(text: str) -> float | None:
        return states.get(text.removesuffix(".0"))

    def column(label: str) -> npt.NDArray[np.float32]:
        read = table.meanings(label, state, f"{label}: unknown state", allowed="1, 0, -1 or blank")
        return read.astype(np.float32)

    findings = {finding: column(label) for label, finding in OURS.items()}
    if blank == "ignore":
        healthy = column(HEALTHY) == 1
        for label, finding in OURS.items():
            if label != "Support Devices":  # the one label that No Finding says nothing about
                findings[finding][healthy & (table.rows[label] == "")] = 0
    return pd.DataFrame(findings)[list(FINDINGS)]


def _years(text: str) -> float:
    """NaN where nobody is that old, or nobody can tell; 0 stands for unknown."""
    years = int(text) if re.fullmatch("[0-9]{1,3}", text) else 0
    return years if 0 < years <= OLDEST else np.nan


def _within(name: str) -> str:
    """A path as in the table or below its folder, or a patient, as the index names it."""
    first, slash, rest = name.partition("/")
    return rest if slash and first not in ("train", "valid") else name
