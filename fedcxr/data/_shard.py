"""The packed store: films as one memory-mapped array, written in parts, resumed after a kill, never half visible.

shard/images.npy      films (n, h, w) uint8
shard/index.csv       a row per film
shard/manifest.json   what it is: films, findings, check sums; no path and no file name
shard.part/           the same in the making: images.npy with a slot per film, in `done` the stamp of each filled slot
shard.lock            held while making
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr import __version__
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError, DataError, StorageError

IMAGES, INDEX, MANIFEST, DONE = "images.npy", "index.csv", "manifest.json", "done"
HEADER_BYTES = 128  # of images.npy: NumPy leaves room for the number of films to change
ABANDONED_S = 7 * 24 * 3600  # without a new film, a draft will not be resumed
COPIED_BYTES = 1 << 24  # held in memory while films are moved
TEXTS = ("image", "patient", "view", "sex", "source", "split")

Stamps = npt.NDArray[np.uint64]  # (n,) what each slot is filled from; 0: nothing


class File(pydantic.BaseModel):
    """One file of a shard."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Manifest(pydantic.BaseModel):
    """What a shard says of itself."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    made_by: str = f"fedcxr {__version__}"
    size: tuple[int, int]  # height and width of a film
    films: int
    findings: tuple[str, ...]
    source: Mapping[str, Any]  # the parameters of its source, less paths and names
    left_out: Mapping[str, int]  # films that could not be used, by reason
    files: Mapping[str, File]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished shard."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise DataError("there is no shard", given=folder, do=error.strerror) from None
    except pydantic.ValidationError as error:
        raise DataError(
            "this shard's manifest is damaged or of another version",
            given=folder / MANIFEST,
            allowed="format 1",
            do=f"{error.errors()[0]['msg']}: pack it again",
        ) from None


def open_shard(folder: Path, *, verify: bool = False) -> Cohort:
    """The films of a shard, mapped and not read, so that it takes as long for a thousand as for a million.

    Formats and sizes are always checked, every byte with `verify`.
    """
    manifest = read_manifest(folder)
    for name, file in manifest.files.items():
        _check(folder / name, file, verify)
    try:
        pixels = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        index = read_index(folder / INDEX, manifest.findings)
    except (OSError, ValueError, KeyError) as error:
        raise DataError("this shard is damaged", given=folder, do=f"{error}: pack it again") from None
    if pixels.shape != (manifest.films, *manifest.size) or pixels.dtype != np.uint8 or len(index) != manifest.films:
        raise DataError(
            "this shard does not hold what its manifest says",
            given=f"{pixels.shape} {pixels.dtype} and {len(index)} rows in {folder}",
            do="pack it again",
        )
    return Cohort.whole(pixels, index, manifest.findings)


def _check(path: Path, file: File, verify: bool) -> None:
    try:
        size = path.stat().st_size
        damaged = size != file.bytes or (verify and _fact(path).sha256 != file.sha256)
    except OSError as error:
        raise DataError("a file of a shard is missing", given=path, do=error.strerror) from None
    if damaged:
        told = f"{size} bytes" if size != file.bytes else "another check sum"
        raise DataError("a file of a shard is damaged", given=f"{path}: {told}", do="pack it again")


def read_index(path: Path, findings: Sequence[str]) -> pd.DataFrame:
    """An index as it was written: texts stay texts, whatever they look like, and an unknown number is NaN."""
    columns = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXTS, str) | dict.fromkeys(findings, np.float32),
        keep_default_na=False,
        na_values={column: [""] for column in columns if column not in TEXTS},
    )


class Draft:
    """A shard in the making: a slot for each film, to be filled in any order by any process."""

    def __init__(self, part: Path, stamps: Stamps, size: int) -> None:
        self.images = part / IMAGES
        self._part, self._stamps, self._size = part, stamps, size
        if not self._fits():
            self._reserve()
        self._done: npt.NDArray[np.uint64] = np.memmap(part / DONE, dtype=np.uint64, mode="r+")
        self._done[self._done != stamps] = 0  # filled from a file that is another one now

    def missing(self) -> list[int]:
        """The slots that are not filled."""
        return [int(slot) for slot in np.flatnonzero(self._done == 0)]

    def mark(self, slots: npt.ArrayLike) -> None:
        """Count these slots as filled."""
        places = np.asarray(slots, dtype=np.intp)
        self._done[places] = self._stamps[places]

    def seal(self, folder: Path, index: pd.DataFrame, facts: Mapping[str, Any]) -> None:
        """Make the filled slots and their rows of the index a shard, at once."""
        filled = np.flatnonzero(self._done)
        if not len(filled):
            raise DataError("not one film can be used", given=f"{len(self._stamps)} films")
        if len(filled) < len(self._stamps):
            (self._part / DONE).unlink()  # once films move, a kill means to begin anew
            self._close_gaps(filled)
        index.iloc[filled].to_csv(self._part / INDEX, index=False, lineterminator="\n")
        files = {name: _fact(self._part / name) for name in (IMAGES, INDEX)}
        manifest = Manifest(size=(self._size, self._size), films=len(filled), files=files, **facts)
        (self._part / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for name in (IMAGES, INDEX, MANIFEST):
            _sync(self._part / name)
        (self._part / DONE).unlink(missing_ok=True)
        self._part.rename(folder)
        _sync(folder.parent)

    def _fits(self) -> bool:
        """Whether an earlier attempt at as many films of this size left something to go on from."""
        expected = {self.images: self._bytes(len(self._stamps)), self._part / DONE: self._stamps.nbytes}
        return all(path.is_file() and path.stat().st_size == size for path, size in expected.items())

    def _reserve(self) -> None:
        """Empty slots whose blocks are allocated now, so that a full disk is an error before any work."""
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir()
        try:
            with self.images.open("wb") as file:
                file.write(_header(len(self._stamps), self._size))
                file.truncate(self._bytes(len(self._stamps)))
                if hasattr(os, "posix_fallocate"):  # not on macOS
                    os.posix_fallocate(file.fileno(), 0, self._bytes(len(self._stamps)))
            (self._part / DONE).write_bytes(bytes(self._stamps.nbytes))
        except OSError:
            shutil.rmtree(self._part, ignore_errors=True)  # gives the space back
            raise

    def _close_gaps(self, filled: npt.NDArray[np.intp]) -> None:
        pixels = np.load(self.images, mmap_mode="r+")
        step = max(1, COPIED_BYTES // self._size**2)
        for start in range(0, len(filled), step):
            moved = filled[start : start + step]
            pixels[start : start + len(moved)] = pixels[moved]  # a film only ever moves forward
        del pixels
        with self.images.open("r+b") as file:
            file.truncate(self._bytes(len(filled)))
            file.write(_header(len(filled), self._size))

    def _bytes(self, films: int) -> int:
        return HEADER_BYTES + films * self._size**2


@contextmanager
def held(part: Path) -> Iterator[None]:
    """Waits until no other process works on the draft in `part`, and keeps others from it."""
    with explained(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it however we end
            yield


def sweep(folder: Path, drafts: str) -> None:
    """Remove what is left of drafts that nobody has filled for a week, unless somebody holds one right now."""
    for part in folder.glob(drafts):
        with suppress(OSError), part.with_suffix(".lock").open("a") as lock:  # refused: it is held
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - max(path.stat().st_mtime for path in (part, *part.iterdir())) > ABANDONED_S:
                shutil.rmtree(part, ignore_errors=True)


def fill(images: Path, slots: Sequence[int], films: Sequence[npt.NDArray[np.uint8]]) -> None:
    """Put films (h, w) into slots of a draft; they are on the disk when this returns."""
    with images.open("r+b") as file:
        for slot, film in zip(slots, films, strict=True):
            file.seek(HEADER_BYTES + slot * film.nbytes)
            file.write(np.ascontiguousarray(film).data)
        _flush(file)


def write(folder: Path, cohort: Cohort, facts: Mapping[str, Any]) -> None:
    """A shard of any cohort of square films."""
    height, width = cohort.size
    if height != width:
        raise DataError("a shard holds square films", given=f"{height} x {width}")
    refuse_taken(folder)
    part = folder.with_name(f"{folder.name}.part")
    with held(part):
        shutil.rmtree(part, ignore_errors=True)  # copying is quicker than telling what was copied from what
        draft = Draft(part, np.arange(1, len(cohort) + 1, dtype=np.uint64), height)
        start = 0
        for films in cohort.chunks(max(1, COPIED_BYTES // height**2)):
            slots = range(start, start + len(films))
            fill(draft.images, slots, list(films))
            draft.mark(slots)
            start += len(films)
        draft.seal(folder, cohort.index, {"findings": cohort.findings, "left_out": {}, **facts})


def is_there(folder: Path) -> bool:
    """Whether a shard is finished."""
    return (folder / MANIFEST).is_file()


def refuse_taken(folder: Path) -> None:
    """Refuse to write over what is there."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError("there is something already", given=folder, do="choose another --out, or remove it")


def _header(films: int, size: int) -> bytes:
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "|u1", "fortran_order": False, "shape": (films, size, size)})
    header = text.getvalue()
    assert len(header) == HEADER_BYTES
    return header


def _fact(path: Path) -> File:
    with path.open("rb") as file:
        return File(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def _flush(file: io.BufferedRandom) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
