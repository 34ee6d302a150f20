"""Rendered cohorts on disk: keyed by content, shared by processes, resumed after a kill, never half visible.

cache/phantom-<key>.lock       held while rendering; a second process waits, then finds the films
cache/phantom-<key>.part/      images.npy being filled, and one byte per finished chunk in done
cache/phantom-<key>/           images.npy, index.csv, spec.json: complete, appears by one rename
cache/phantom-<key>/boxes-*.csv  beside them once somebody has asked for boxes, by a rename of its own
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.data._pool import in_parallel
from fedcxr.data.phantom.visits import VERSION, Visits
from fedcxr.errors import StorageError
from fedcxr.storage.private import locked, private_folder

Progress = Callable[[int, int], None]

CHUNK_PIXELS = 1 << 20  # rendered between two reports of progress, about half a second: 256 films of 64 px
TEXT_COLUMNS = {"image": str, "patient": str, "view": str, "sex": str, "source": str, "split": str}


@dataclass(frozen=True)
class Order:
    """Films to be rendered."""

    seed: int
    size: int
    visits: Visits

    def take(self, rows: slice) -> Order:
        """Some of the films."""
        return replace(self, visits=self.visits.take(rows))

    def chunks(self) -> list[slice]:
        """The films in portions of about CHUNK_PIXELS."""
        films, step = len(self.visits), max(1, CHUNK_PIXELS // self.size**2)
        return [slice(start, min(start + step, films)) for start in range(0, films, step)]


def open_cohort(
    spec: Mapping[str, Any], order: Callable[[], Order], cache: Path, workers: int, progress: Progress | None
) -> Cohort:
    """The cohort `spec` describes, rendered into `cache` first unless it is there."""
    described, folder = _described(spec, cache)
    with _as_storage_error(folder):
        private_folder(cache)
        if not folder.is_dir():
            with locked(folder.with_suffix(".lock")):
                if not folder.is_dir():
                    _make(folder, described, order(), workers, progress)
        pixels = np.load(folder / "images.npy", mmap_mode="r")
        index = pd.read_csv(folder / "index.csv", dtype=TEXT_COLUMNS)
    return Cohort.whole(pixels, index.astype(dict.fromkeys(FINDINGS, np.float32)))


def open_boxes(spec: Mapping[str, Any], order: Callable[[], Order], cache: Path) -> pd.DataFrame:
    """The boxes on the films of a cohort that is there, drawn when they are first asked for."""
    from fedcxr.data.phantom import boxes  # here: it takes torch, and opening films does not

    folder = _described(spec, cache)[1]
    kept = folder / f"boxes-{boxes.VERSION}.csv"
    with _as_storage_error(folder):
        if not kept.exists():
            with locked(folder.with_suffix(".lock")):
                if not kept.exists():
                    films, part = order(), kept.with_suffix(".part")
                    boxes.boxes(films.seed, films.visits, films.size).to_csv(part, index=False)
                    part.rename(kept)
        return pd.read_csv(kept, dtype={"finding": str})


def _described(spec: Mapping[str, Any], cache: Path) -> tuple[dict[str, Any], Path]:
    """All that films of a cohort are made from, and the folder named by it."""
    described = {"version": VERSION, **spec}
    key = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=8).hexdigest()
    return described, cache / f"phantom-{key}"


def _make(folder: Path, described: Mapping[str, Any], order: Order, workers: int, progress: Progress | None) -> None:
    part = folder.with_suffix(".part")
    part.mkdir(exist_ok=True)
    try:
        _render_missing(part, order, workers, progress)
        order.visits.index().to_csv(part / "index.csv", index=False)
        (part / "spec.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        (part / "done").unlink()
        for file in part.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            shutil.rmtree(part, ignore_errors=True)  # gives the space back
        raise
    part.rename(folder)


def _render_missing(part: Path, order: Order, workers: int, progress: Progress | None) -> None:
    images, done, chunks = part / "images.npy", part / "done", order.chunks()
    if not (done.exists() and done.stat().st_size == len(chunks)):
        _reserve(images, (len(order.visits), order.size, order.size))
        done.write_bytes(bytes(len(chunks)))
    finished = np.memmap(done, dtype=np.uint8, mode="r+")
    films = sum(chunk.stop - chunk.start for chunk, yes in zip(chunks, finished, strict=True) if yes)
    missing = [
        _Chunk(number, images, order.take(rows), rows)
        for number, (rows, yes) in enumerate(zip(chunks, finished, strict=True))
        if not yes
    ]
    with closing(in_parallel(_render_chunk, missing, workers)) as rendered:  # no worker outlives the lock
        for chunk, _ in rendered:
            finished[chunk.number] = 1
            films += len(chunk.order.visits)
            if progress is not None:
                progress(films, len(order.visits))


def _reserve(images: Path, shape: tuple[int, int, int]) -> None:
    """An empty array whose blocks are allocated now: a full disk is an error here, not a bus error while writing."""
    np.lib.format.open_memmap(images, mode="w+", dtype=np.uint8, shape=shape).flush()
    if not hasattr(os, "posix_fallocate"):
        return  # macOS
    with images.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, images.stat().st_size)


@dataclass(frozen=True)
class _Chunk:
    """Some films of an order, and where they go."""

    number: int
    images: Path
    order: Order  # of these films only
    rows: slice  # of the array on disk


def _render_chunk(chunk: _Chunk) -> None:
    from fedcxr.data.phantom.render import render

    films = render(chunk.order.seed, chunk.order.visits, chunk.order.size)
    pixels = np.load(chunk.images, mmap_mode="r+")
    pixels[chunk.rows] = films
    pixels.flush()


@contextmanager
def _as_storage_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise StorageError(
            "the disk is full" if full else f"cannot keep the cohort: {error.strerror or error}",
            given=str(folder),
            do="free space or choose another cache folder" if full else "choose another cache folder",
        ) from error
