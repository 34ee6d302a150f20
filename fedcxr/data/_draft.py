"""A shard in the making: written in parts by any process, resumed after a kill, never half visible.

shard.part/   what will be the shard: arrays with a slot per film, and in `done` the stamp of each filled slot
shard.lock    held while making
"""

from __future__ import annotations

import io
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import Annotation, Cohort, Organ
from fedcxr.data._masks import Mask, packed, row_bytes
from fedcxr.data._shard import BOXES, IMAGES, INDEX, MANIFEST, Manifest, explained, fact, mask_file, refuse_taken
from fedcxr.errors import DataError, Refused
from fedcxr.storage.private import locked, private_folder

DONE = "done"
HEADER_BYTES = 128  # of an array's file: NumPy leaves room for the number of films to change
ABANDONED_S = 7 * 24 * 3600  # without a new film, a draft will not be resumed
COPIED_BYTES = 1 << 24  # held in memory while films are moved

Stamps = npt.NDArray[np.uint64]  # (n,) what each slot is filled from; 0: nothing


class Draft:
    """A shard in the making: a slot for each film and its masks, to be filled in any order by any process."""

    def __init__(self, part: Path, stamps: Stamps, size: int, organs: Sequence[Organ] = ()) -> None:
        self.part, self.organs = part, tuple(organs)
        self._stamps, self._size = stamps, size
        # What each slot holds, file by file.
        self._slots = {IMAGES: (size, size)} | {mask_file(organ): (row_bytes(size),) for organ in self.organs}
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

    def seal(
        self, folder: Path, index: pd.DataFrame, facts: Mapping[str, Any], boxes: pd.DataFrame | None = None
    ) -> None:
        """Make the filled slots, their rows of the index and the boxes on them a shard, at once."""
        filled = np.flatnonzero(self._done)
        if not len(filled):
            raise DataError("not one film can be used", given=f"{len(self._stamps)} films")
        if len(filled) < len(self._stamps):
            (self.part / DONE).unlink()  # once films move, a kill means to begin anew
            self._close_gaps(filled)
        index.iloc[filled].to_csv(self.part / INDEX, index=False, lineterminator="\n")
        names = [*self._slots, INDEX]
        annotations: list[Annotation] = [*self.organs]
        if boxes is not None:
            _on_films(boxes, filled).to_csv(self.part / BOXES, index=False, lineterminator="\n")
            names.append(BOXES)
            annotations.append("boxes")
        manifest = Manifest(
            size=(self._size, self._size),
            films=len(filled),
            annotations=tuple(annotations),
            files={name: fact(self.part / name) for name in names},
            **facts,
        )
        (self.part / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for name in (*names, MANIFEST):
            _sync(self.part / name)
        (self.part / DONE).unlink(missing_ok=True)
        self.part.rename(folder)
        _sync(folder.parent)

    def _fits(self) -> bool:
        """Whether an earlier attempt at as many films of this size left something to go on from."""
        expected = {name: self._bytes(name, len(self._stamps)) for name in self._slots}
        expected[DONE] = self._stamps.nbytes
        paths = {self.part / name: size for name, size in expected.items()}
        return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())

    def _reserve(self) -> None:
        """Empty slots whose blocks are allocated now, so that a full disk is an error before any work."""
        shutil.rmtree(self.part, ignore_errors=True)
        private_folder(self.part)
        try:
            for name, slot in self._slots.items():
                size = self._bytes(name, len(self._stamps))
                with (self.part / name).open("wb") as file:
                    file.write(_header(len(self._stamps), slot))
                    file.truncate(size)
                    if hasattr(os, "posix_fallocate"):  # not on macOS
                        os.posix_fallocate(file.fileno(), 0, size)
            (self.part / DONE).write_bytes(bytes(self._stamps.nbytes))
        except OSError:
            shutil.rmtree(self.part, ignore_errors=True)  # gives the space back
            raise

    def _close_gaps(self, filled: npt.NDArray[np.intp]) -> None:
        for name, slot in self._slots.items():
            held = np.load(self.part / name, mmap_mode="r+")
            step = max(1, COPIED_BYTES // math.prod(slot))
            for start in range(0, len(filled), step):
                moved = filled[start : start + step]
                held[start : start + len(moved)] = held[moved]  # a film only ever moves forward
            del held
            with (self.part / name).open("r+b") as file:
                file.truncate(self._bytes(name, len(filled)))
                file.write(_header(len(filled), slot))

    def _bytes(self, name: str, films: int) -> int:
        return HEADER_BYTES + films * math.prod(self._slots[name])


@contextmanager
def held(part: Path) -> Iterator[None]:
    """Waits until no other process works on the draft in `part`, and keeps others from it."""
    with explained(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        with locked(part.with_suffix(".lock")):
            if os.path.lexists(part):  # what an earlier attempt left, unless somebody else has put it there
                private_folder(part)
            yield


def sweep(folder: Path, drafts: str) -> None:
    """Remove what is left of drafts that nobody has filled for a week, unless somebody holds one right now."""
    for part in folder.glob(drafts):
        with suppress(OSError, Refused), locked(part.with_suffix(".lock"), wait=False):  # refused: it is held
            if time.time() - max(path.stat().st_mtime for path in (part, *part.iterdir())) > ABANDONED_S:
                shutil.rmtree(part, ignore_errors=True)


def fill(part: Path, slots: Sequence[int], films: Sequence[npt.NDArray[np.uint8]]) -> None:
    """Put films (h, w) into slots of the draft in `part`; they are on the disk when this returns."""
    _put(part / IMAGES, slots, films)


def fill_masks(part: Path, organ: Organ, slots: Sequence[int], masks: Sequence[Mask | None], size: int) -> None:
    """Put masks (size, size), or that a film has none, into slots of the draft in `part`, as `fill` does films."""
    _put(part / mask_file(organ), slots, [packed(mask, size) for mask in masks])


def _put(path: Path, slots: Sequence[int], films: Sequence[npt.NDArray[np.uint8]]) -> None:
    with path.open("r+b") as file:
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
        organs = tuple(cohort.annotations.masks)
        draft = Draft(part, np.arange(1, len(cohort) + 1, dtype=np.uint64), height, organs)
        step = max(1, COPIED_BYTES // height**2)
        for start in range(0, len(cohort), step):
            slots = np.arange(start, min(start + step, len(cohort)), dtype=np.intp)
            fill(part, slots.tolist(), list(cohort.films(slots)))
            for organ in organs:
                fill_masks(part, organ, slots.tolist(), _masks_of(cohort, organ, slots), height)
            draft.mark(slots)
        boxes = cohort.boxes() if "boxes" in cohort.annotations.names else None
        draft.seal(folder, cohort.index, {"findings": cohort.findings, "left_out": {}, **facts}, boxes)


def _masks_of(cohort: Cohort, organ: Organ, rows: npt.NDArray[np.intp]) -> list[Mask | None]:
    has = cohort.masked(organ)[rows]
    drawn = iter(cohort.mask(organ, rows[has]))
    return [next(drawn) if there else None for there in has]


def _on_films(boxes: pd.DataFrame, kept: npt.NDArray[np.intp]) -> pd.DataFrame:
    """The boxes on the films that are kept, under the places these move to."""
    staying = boxes[np.isin(boxes["film"], kept)]
    return staying.assign(film=np.searchsorted(kept, staying["film"]))


def _header(films: int, slot: tuple[int, ...]) -> bytes:
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "|u1", "fortran_order": False, "shape": (films, *slot)})
    header = text.getvalue()
    assert len(header) == HEADER_BYTES
    return header


def _flush(file: io.BufferedRandom) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
