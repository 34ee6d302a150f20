"""A ward's films in the layout of every reader, with things written about its patients that must not get out."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from fedcxr.data._packed import Packed
from fedcxr.data.chexpert import LABELS
from fedcxr.plugins import build

SIZE = 16  # pixels of a packed film


@dataclass(frozen=True)
class SampleHospital:
    """Three people with two films each, and what is written about them."""

    patients: tuple[str, ...] = ("MRN-Qx7741", "MRN-Zk9035", "MRN-Wv2268")
    films: tuple[str, ...] = ("Kowalczyk_0", "Kowalczyk_1", "Szymanski_0", "Szymanski_1", "Lewandow_0", "Lewandow_1")
    name: str = "Kowalczyk^Zofia"
    accession: str = "ACC-55091"
    institution: str = "Klinikum Sonnenau"
    days: tuple[str, ...] = ("20170611", "20170923")
    born: str = "19430217"

    @property
    def secrets(self) -> tuple[str, ...]:
        dashed = (f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in (*self.days, self.born))
        names = (*self.patients, *self.films, self.name, self.accession, self.institution)
        return (*names, *self.days, self.born, *dashed, *self.name.split("^"), ROOT)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Patient, film and day of each film."""
        return [(self.patients[i // 2], film, self.days[i % 2]) for i, film in enumerate(self.films)]


ROOT = "Sonnenau-Archiv"  # the folder of films may name the hospital
Parameters = dict[str, Any]


def grain(number: int, side: int = 24) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grain(number)).save(path)


def nih(root: Path, ward: SampleHospital) -> Parameters:
    """Numbers for patients, as NIH has them; films are named after them."""
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,Name,Date"
    lines = [
        f"{film}.png,{'Mass' if i % 2 else 'No Finding'},{i % 2},{patient},{50 + i},F,PA,{ward.name},{day}"
        for i, (patient, film, day) in enumerate(ward.rows)
    ]
    for i, film in enumerate(ward.films):
        save(root / f"images_00{1 + i % 2}" / "images" / f"{film}.png", i)
    (root / "Data_Entry_2017.csv").write_text("\n".join((header, *lines)))
    (root / "train_val_list.txt").write_text("\n".join(f"{film}.png" for film in ward.films[:4]))
    (root / "test_list.txt").write_text("\n".join(f"{film}.png" for film in ward.films[4:]))
    boxes = [f"{film}.png,Infiltrate,{100 + i},200,50,60,,," for i, film in enumerate(ward.films[:3])]
    with gzip.open(root / "BBox_List_2017.csv.gz", "wt") as file:
        file.write("\n".join(('Image Index,Finding Label,"Bbox [x",y,w,h],,,', *boxes)))
    return {"name": "nih", "boxes": True}


def chexpert(root: Path, ward: SampleHospital) -> Parameters:
    header = ",".join(("Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding", *LABELS, "Name,Date"))
    lines = []
    for i, (_, film, day) in enumerate(ward.rows):
        save(root / "train" / f"{film}.jpg", i)
        lines.append(f"x/train/{film}.jpg,Female,{50 + i},Frontal,AP{',' * (len(LABELS) + 2)}{ward.name},{day}")
    (root / "train.csv").write_text("\n".join((header, *lines)))
    return {"name": "chexpert"}


def folder(root: Path, ward: SampleHospital) -> Parameters:
    """A folder per patient, masks for some, and everything a hospital might write into a table."""
    header = "image,patient,day,projection,ward,name,accession,part,Pleural Effusion"
    lines = []
    for i, (patient, film, day) in enumerate(ward.rows):
        save(root / "images" / patient / f"{film}.png", i)
        if i % 3:
            (root / "masks" / patient).mkdir(parents=True, exist_ok=True)
            Image.fromarray(grain(i) > 127).save(root / "masks" / patient / f"{film}.png")
        wrote = (f"{patient}/{film}.png", patient, day, f"PA {ward.name}", ward.institution, ward.name, ward.accession)
        lines.append(",".join((*wrote, ("train", "val", "test")[i // 2], str(i % 2))))
    (root / "metadata.csv").write_text("\n".join((header, *lines)))
    columns = {"visit": "day", "view": "projection", "sex": "name", "source": "ward", "split": "part"}
    return {"name": "folder", "columns": columns, "findings": {"columns": ["Pleural Effusion"]}, "masks": "masks"}


def dicom(root: Path, ward: SampleHospital) -> Parameters:
    import dicoms  # here: it needs the extra `dicom`

    for i, (patient, film, day) in enumerate(ward.rows):
        dicoms.dicom(
            root / patient / f"{film}.dcm",
            grain(i),
            SpecificCharacterSet="ISO_IR 192",
            PatientID=patient,
            PatientName=ward.name,
            PatientBirthDate=ward.born,
            AccessionNumber=ward.accession,
            InstitutionName=ward.institution,
            StudyDate=day,
            SOPInstanceUID=f"1.2.{day}.{i}",
            ViewPosition=f"PA {ward.name}",
            PatientSex=ward.name,
        )
    return {"name": "dicom"}


READERS = {reader.__name__: reader for reader in (nih, chexpert, folder, dicom)}
Reader = Callable[[Path, SampleHospital], Parameters]


def of_texts(texts: list[str]) -> SampleHospital:
    return SampleHospital(patients=tuple(texts[:3]), films=tuple(texts[3:]))


def of_numbers(reader: str, numbers: list[str]) -> SampleHospital:
    """People as the published sets call them: their films must be named after them."""
    patients = [f"317{number}" if reader == "nih" else f"patient{number}" for number in numbers]
    film = "{}_00{}" if reader == "nih" else "{}/study{}/view1_frontal"
    return SampleHospital(tuple(patients), tuple(film.format(patient, i + 1) for patient in patients for i in range(2)))


def usual(reader: str) -> SampleHospital:
    return SampleHospital() if reader in ("folder", "dicom") else of_numbers(reader, ["48151", "62342", "71903"])


def source(root: Path, parameters: Parameters) -> Packed:
    return cast(Packed, build("source", {"root": str(root), "size": SIZE, **parameters}))
