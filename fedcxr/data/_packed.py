"""What all sources of real films share: their films are decoded once, checked one by one, and packed into a shard."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_origin

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.cohort import Annotations, Cohort, Organ
from fedcxr.data import Progress, Source
from fedcxr.data import _draft as drafts
from fedcxr.data import _shard as shard
from fedcxr.data._decode import VERSION, Unusable
from fedcxr.data._decoding import looked_at, mask_of
from fedcxr.data._film_file import decode
from fedcxr.data._fingerprint import Fingerprint, WatchedPaths
from fedcxr.data._listing import Listing, Problem
from fedcxr.data._masks import PackedMasks, packed
from fedcxr.data._pseudonyms import Secret, has_secret, passing_secret, site_secret
from fedcxr.data._report import Report, report, report_of, too_many
from fedcxr.errors import DataError
from fedcxr.storage.private import private_folder

log = logging.getLogger(__name__)

PASSING = "this site has no secret yet, so pseudonyms, and splits by chance, were drawn for this look alone"


class Packed(Source):
    """A source of films that lie in files, with a table that says whose they are."""

    root: str = pydantic.Field(min_length=1, description="Folder the films are in.")
    size: int = pydantic.Field(64, ge=16, le=1024, description="Height and width of a film in pixels.")
    max_bad: int = pydantic.Field(0, ge=0, description="Unusable films to go on without; more are an error.")

    @abstractmethod
    def listing(self, secret: Secret | None = None) -> Listing:
        """Who and what is on the films, and where they lie; no film is read for it. None: the site's own secret."""

    def watched(self) -> WatchedPaths | None:
        """Where something changes whenever a film or the listing does; None: only a listing can tell."""
        return None

    def required_files(self) -> tuple[Path, ...]:
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise DataError("there is no such folder of films", given=self.root, do="check root")
        return (root,)

    def open(self, cache: Path, *, workers: int = 1, progress: Progress | None = None) -> Cohort:
        """The whole cohort; packed into `cache` on first use, mapped from there until a file or the table changes."""
        self.required_files()
        with shard.explained(cache):
            private_folder(cache)
        seen = self._seen(cache)
        folder = seen.shard() if seen is not None else None
        if folder is None:
            films = _Films.of(self)
            folder = cache / f"{self._label()}-{films.key()}"
            if films.listing.guessed:
                log.warning("%s: %s", self._label(), films.listing.guessed)
            if not shard.is_there(folder):
                self._pack(films, folder, cache / f"{self._label()}-{films.place()}.part", workers, progress).demand()
                drafts.sweep(cache, f"{self._label()}-*.part")
            if seen is not None:
                seen.keep(folder)
        left_out = shard.read_manifest(folder).left_out
        if sum(left_out.values()) > self.max_bad:
            raise too_many(left_out, self.max_bad)
        if left_out:
            log.warning("%s: left out %s", self._label(), ", ".join(f"{n} {reason}" for reason, n in left_out.items()))
        return shard.open_shard(folder)

    def preview(self, films: int, cache: Path) -> Preview:
        """Some films, patient by patient; no others are decoded, unless all are packed already."""
        self.required_files()
        seen = self._seen(cache)
        if seen is None or seen.shard() is None:
            looked = _Films.of(self)
            if not shard.is_there(cache / f"{self._label()}-{looked.key()}"):
                return self._decoded(looked.listing, films)
        return Preview.of(self.open(cache), films)

    def pack(self, folder: Path, *, workers: int = 1, progress: Progress | None = None) -> Report:
        """A shard of the whole cohort at `folder`, or none and a report that says why."""
        shard.refuse_taken(folder)
        return self._pack(_Films.of(self), folder, folder.with_name(f"{folder.name}.part"), workers, progress)

    def check(self, *, workers: int = 1, progress: Progress | None = None) -> Report:
        """The report that packing would give, without writing anything, not even a secret where there is none yet."""
        films = _Films.of(self, passing_secret())
        reasons: dict[int, str] = {}
        for _, found in looked_at(films.listing, self.size, range(len(films)), None, workers, progress):
            reasons |= found
        told = self._report(films.listing, reasons)
        return told if has_secret() else replace(told, warnings=(*told.warnings, PASSING))

    def _decoded(self, listing: Listing, count: int) -> Preview:
        pixels: dict[int, npt.NDArray[np.uint8]] = {}
        drawn: dict[Organ, list[npt.NDArray[np.uint8]]] = {organ: [] for organ in listing.masks}
        reasons: dict[int, str] = {}
        for row in _together(listing.index):
            if len(pixels) == count:
                break
            film = listing.files[row]
            try:
                decoded = decode(film, self.size, listing.decoder)
                masks = {organ: mask_of(organ, files[row], film, self.size) for organ, files in listing.masks.items()}
            except Unusable as why:
                reasons[row] = str(why)
                continue
            pixels[row] = decoded
            for organ, mask in masks.items():
                drawn[organ].append(packed(mask, self.size))
        told = self._report(listing, reasons)
        told.demand()
        annotations = Annotations({o: PackedMasks(np.stack(rows), (self.size,) * 2) for o, rows in drawn.items()})
        index = listing.index.iloc[list(pixels)]
        shown = Cohort.whole(np.stack(list(pixels.values())), index, listing.findings, annotations)
        return Preview(shown, told.films, told.patients)

    def _pack(self, films: _Films, folder: Path, part: Path, workers: int, progress: Progress | None) -> Report:
        reasons: dict[int, str] = {}
        if len(films.listing.problems) > self.max_bad:
            return self._report(films.listing, reasons)  # nothing is made of it: no film need be decoded
        with drafts.held(part):
            if shard.is_there(folder):  # another process was quicker
                return self._report(films.listing, reasons)
            draft = drafts.Draft(part, films.stamps, self.size, tuple(films.listing.masks))
            for slots, found in looked_at(films.listing, self.size, draft.missing(), part, workers, progress):
                draft.mark([slot for slot in slots if slot not in found])
                reasons |= found
            outcome = self._report(films.listing, reasons)
            if outcome.usable:
                facts = {"findings": films.listing.findings, "source": _public(self), "left_out": outcome.left_out}
                draft.seal(folder, films.listing.index, facts, films.listing.boxes)
        return outcome

    def _report(self, listing: Listing, reasons: dict[int, str]) -> Report:
        unread = [Problem(_name(listing.files[row], self.root), reasons[row]) for row in sorted(reasons)]
        usable = np.flatnonzero(~np.isin(np.arange(len(listing.index)), list(reasons)))
        return report(
            self.plugin_name(),
            (self.size, self.size),
            listing.index.iloc[usable],
            listing.findings,
            (*listing.problems, *unread),
            spellings=listing.spellings,
            annotations=listing.annotated(usable),
            notes=listing.notes,
            table=listing.table,
            read=listing.read,
            doubts=listing.doubts,
            max_bad=self.max_bad,
        )

    def _seen(self, cache: Path) -> Fingerprint | None:
        """What is known of this source, under this site's secret, from an earlier process."""
        watched = self.watched()
        if watched is None:
            return None
        described = f"{VERSION} {Path(self.root).expanduser().absolute()} {self.model_dump_json()}"
        (name,) = site_secret().names("image", "seen", [described])  # another secret, other pseudonyms, another shard
        return Fingerprint.of(cache / f"{self._label()}-{name}.seen", watched, type(self))

    def _label(self) -> str:
        return self.plugin_name().replace(":", ".")


@dataclass(frozen=True)
class Preview:
    """Some films of a source, those of one patient side by side, and how many there are."""

    shown: Cohort
    films: int  # in the whole source; what was not decoded is taken to be usable
    patients: int

    @classmethod
    def of(cls, cohort: Cohort, films: int) -> Preview:
        return cls(cohort.take(_together(cohort.index)[:films]), len(cohort), int(cohort.index["patient"].nunique()))


def _together(index: pd.DataFrame) -> npt.NDArray[np.intp]:
    """The rows, patient by patient."""
    return np.argsort(index["patient"].to_numpy(dtype=object), kind="stable")


def preview(source: Source, films: int, cache: Path, *, workers: int = 1, progress: Progress | None = None) -> Preview:
    """Some films of any source; those of one patient side by side."""
    if isinstance(source, Packed):
        return source.preview(films, cache)
    return Preview.of(source.open(cache, workers=workers, progress=progress), films)


def check(source: Source, *, workers: int = 1, progress: Progress | None = None) -> Report:
    """What is in any source and what in it cannot be used; films that are rendered, not read, are all usable."""
    if isinstance(source, Packed):
        return source.check(workers=workers, progress=progress)
    with tempfile.TemporaryDirectory(prefix="fedcxr-") as passing:  # nothing is left of what a look renders
        return report_of(source.plugin_name(), source.open(Path(passing), workers=workers, progress=progress))


def pack(source: Source, folder: Path, cache: Path, *, workers: int = 1, progress: Progress | None = None) -> Report:
    """A shard of any source at `folder`, or none and a report that says why."""
    if isinstance(source, Packed):
        return source.pack(folder, workers=workers, progress=progress)
    cohort = source.open(cache, workers=workers, progress=progress)
    drafts.write(folder, cohort, {"source": _public(source)})
    return report_of(source.plugin_name(), cohort)


def _public(source: Source) -> dict[str, Any]:
    """Parameters a shard may tell: numbers and choices. A text of the user's own may be a path or a name."""
    told: dict[str, Any] = {"name": source.plugin_name()}
    for name, field in type(source).model_fields.items():
        value = getattr(source, name)
        if isinstance(value, bool | int | float) or get_origin(field.annotation) is Literal:
            told[name] = value
    return told


@dataclass(frozen=True)
class _Films:
    """A listing with the state its files are in."""

    listing: Listing
    size: int
    stamps: drafts.Stamps  # (n,) never 0; another one when the file or the way it is decoded changes

    @classmethod
    def of(cls, source: Packed, secret: Secret | None = None) -> _Films:
        source.required_files()
        listing = source.listing(secret)
        # Two folders may hold files of the same names, sizes and times: archives are unpacked that way.
        made_by = f"{VERSION} {source.size} {listing.decoder} {Path(source.root).expanduser().absolute()}"
        files = zip(listing.files, *listing.masks.values(), strict=True)
        stamps = np.fromiter((_stamp(made_by, *beside) for beside in files), np.uint64, len(listing.files))
        return cls(listing, source.size, stamps)

    def __len__(self) -> int:
        return len(self.stamps)

    def key(self) -> str:
        """Names the finished shard: another one for any other pixel, label or order."""
        rows = np.asarray(pd.util.hash_pandas_object(self.listing.index, index=False), dtype=np.uint64)
        columns = ",".join((*self.listing.index.columns, *self.listing.findings, *self.listing.masks))
        boxes = () if self.listing.boxes is None else (self.listing.boxes.to_csv().encode(),)
        return _digest(f"{self.size} {columns}".encode(), rows, self.stamps, *boxes)

    def place(self) -> str:
        """Names the shard in the making: the same after a file was repaired or a label changed.

        A full disk is complained about with this name, so it must not be what anybody can work out from names of files.
        """
        shape = " ".join((str(self.size), *self.listing.masks))
        files = _digest(shape.encode(), *(os.fsencode(file) + b"\0" for file in self.listing.files))
        return site_secret().names("image", "draft", [files])[0]


def _stamp(made_by: str, *files: Path | None) -> int:
    """Of a film and its masks."""
    told = [made_by]
    for file in files:
        try:
            if file is not None:
                state = os.stat(file)  # noqa: PTH116  as much faster as it is called more often
                told.append(f"{state.st_size} {state.st_mtime_ns} {file}")
            else:
                told.append("none")
        except OSError:
            told.append(f"missing {file}")
    return int(_digest(os.fsencode(" ".join(told))), 16) | 1


def _digest(*parts: bytes | npt.NDArray[np.uint64]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _name(file: Path, root: str) -> str:
    """A file as the hospital knows it."""
    try:
        return str(file.relative_to(Path(root).expanduser()))
    except ValueError:
        return str(file)
