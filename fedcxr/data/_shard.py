"""The packed store: films as one memory-mapped array, with what is known of them beside it. `_draft` makes it.

shard/images.npy      films (n, h, w) uint8
shard/lungs.npy       masks of an organ, where there are any: see `_masks`
shard/index.csv       a row per film
shard/boxes.csv       a row per box, where somebody drew any
shard/manifest.json   what it is: films, findings, annotations, check sums; no path and no file name
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pydantic

from fedcxr import __version__
from fedcxr.cohort import BOXES as BOX
from fedcxr.cohort import ORGANS, Annotation, Annotations, Cohort, Organ
from fedcxr.data._mapped import mapped, refuse_irregular
from fedcxr.data._masks import PackedMasks
from fedcxr.errors import ConfigError, DataError, StorageError

IMAGES, INDEX, BOXES, MANIFEST = "images.npy", "index.csv", "boxes.csv", "manifest.json"
Name = Literal["images.npy", "index.csv", "boxes.csv", "lungs.npy", "heart.npy"]
LARGEST_MANIFEST = 1 << 20  # bytes
TEXTS = ("image", "patient", "view", "sex", "source", "split")


class File(pydantic.BaseModel):
    """One file of a shard."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Manifest(pydantic.BaseModel):
    """What a shard says of itself."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = 2  # 1 had no annotations
    made_by: str = f"fedcxr {__version__}"
    size: tuple[int, int]  # height and width of a film
    films: int
    findings: tuple[str, ...]
    annotations: tuple[Annotation, ...] = ()
    source: Mapping[str, Any]  # the parameters of its source, less paths and names
    left_out: Mapping[str, int]  # films that could not be used, by reason
    files: Mapping[Name, File]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished shard."""
    try:
        refuse_irregular(folder / MANIFEST)
        with (folder / MANIFEST).open("rb") as file:
            return Manifest.model_validate_json(file.read(LARGEST_MANIFEST))
    except OSError as error:
        raise DataError("there is no shard", given=folder, do=error.strerror) from None
    except (pydantic.ValidationError, ValueError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else str(error)
        raise DataError(
            "this shard's manifest is damaged or of another version",
            given=folder / MANIFEST,
            allowed="format 1 or 2",
            do=f"{why}: pack it again",
        ) from None


def open_shard(folder: Path, *, verify: bool = False) -> Cohort:
    """The films of a shard, mapped and not read, so that it takes as long for a thousand as for a million.

    Formats and sizes are always checked, every byte with `verify`.
    """
    manifest = read_manifest(folder)
    for name, file in manifest.files.items():
        _check(folder / name, file, verify)
    try:
        pixels = mapped(folder / IMAGES, (manifest.films, *manifest.size), np.uint8)
        index = read_index(folder / INDEX, manifest.findings, manifest.films)
        return Cohort.whole(pixels, index, manifest.findings, _annotations(folder, manifest))
    # The tables' readers fail in every way there is, too.
    except Exception as error:
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise DataError("this shard is damaged", given=folder, do=f"{why}: pack it again") from None


def mask_file(organ: Organ) -> str:
    """Where a shard keeps the masks of an organ."""
    return f"{organ}.npy"


def _annotations(folder: Path, manifest: Manifest) -> Annotations:
    masks = {
        organ: PackedMasks.open(folder / mask_file(organ), manifest.films, manifest.size)
        for organ in ORGANS
        if organ in manifest.annotations
    }
    boxes = None
    if "boxes" in manifest.annotations:
        # By way of texts, because not every pandas reads a number back to its last digit.
        texts = pd.read_csv(folder / BOXES, dtype=str, keep_default_na=False)
        boxes = texts.astype({"film": np.intp} | dict.fromkeys(BOX[2:], np.float64))
    return Annotations(masks, boxes)


def _check(path: Path, file: File, verify: bool) -> None:
    try:
        size = path.stat().st_size
        damaged = size != file.bytes or (verify and fact(path).sha256 != file.sha256)
    except OSError as error:
        raise DataError("a file of a shard is missing", given=path, do=error.strerror) from None
    if damaged:
        told = f"{size} bytes" if size != file.bytes else "another check sum"
        raise DataError("a file of a shard is damaged", given=f"{path}: {told}", do="pack it again")


def read_index(path: Path, findings: Sequence[str], films: int) -> pd.DataFrame:
    """An index of so many films as it was written: texts stay texts, and an unknown number is NaN."""
    refuse_irregular(path)
    columns = pd.read_csv(path, nrows=0).columns
    index = pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXTS, str) | dict.fromkeys(findings, np.float32),
        keep_default_na=False,
        na_values={column: [""] for column in columns if column not in TEXTS},
        nrows=films + 1,
    )
    if len(index) != films:
        raise ValueError(f"{path.name} does not hold {films} films")
    return index


def is_there(folder: Path) -> bool:
    """Whether a shard is finished."""
    return (folder / MANIFEST).is_file()


def refuse_taken(folder: Path) -> None:
    """Refuse to write over what is there."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError("there is something already", given=folder, do="choose another --out, or remove it")


def fact(path: Path) -> File:
    """What a manifest says of a file."""
    with path.open("rb") as file:
        return File(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals about `place` into errors a user can act on."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise StorageError(
            "the disk is full" if full else f"cannot keep the cohort: {error.strerror or error}",
            given=place,
            do="free space or choose another folder" if full else "choose another folder",
        ) from None
