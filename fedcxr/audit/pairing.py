"""Two folders of films and a table: which released film was made of which original, and whose it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcxr.audit._film import Seen, look_at
from fedcxr.audit._folder import FilmFile, FilmFolder
from fedcxr.audit._table import Columns, Entry, read_entries
from fedcxr.data._decode import Unusable
from fedcxr.data._listing import Problem
from fedcxr.data._pool import in_parallel
from fedcxr.errors import DataError
from fedcxr.rng import stream

FEWEST_PATIENTS = 24  # with fewer, an interval reaches from chance to certainty
FEWEST_SEVERAL = 12  # patients with two films or more
SAME_SHAPE = 0.02  # by how much two aspect ratios may differ: a side is a whole number of pixels
MOST_LOST = 0.5  # share of a folder's films without a partner, beyond which the folders do not belong together
BATCH = 16  # pairs decoded between two reports of progress
QUOTED = 3  # how many films an error names

Films = npt.NDArray[np.uint8]  # (n, h, w)
Codes = npt.NDArray[np.int64]  # (n,) anonymous numbers
Forms = npt.NDArray[np.float32]  # (n, k) numbers on files
Progress = Callable[[str, int, int], None]  # what is at work, how much of it is done, of how much


@dataclass(frozen=True)
class Folders:
    """What somebody hands over to be audited."""

    original: Path
    released: Path
    table: Path | None = None
    columns: Columns = field(default_factory=Columns)
    max_bad: int = 0  # films that cannot be used, to go on without


@dataclass(frozen=True)
class Pair:
    """Two files that belong together."""

    original: FilmFile
    released: FilmFile
    patient: str
    source: str = ""  # nothing where the table does not say


@dataclass(frozen=True)
class Paired:
    """Films two by two, all of one size."""

    pairs: tuple[Pair, ...]
    patients: Codes
    originals: Films
    released: Films
    forms: tuple[Forms, Forms]  # of the originals and of the released ones
    sources: Codes | None = None  # below 0 where the table says nothing of a film; None where it never does
    notes: tuple[str, ...] = ()  # what was done to make them comparable, and what was left out
    left_out: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def people(self) -> int:
        return len(np.unique(self.patients))

    @property
    def several(self) -> int:
        """Patients with two films or more."""
        return int((np.unique(self.patients, return_counts=True)[1] > 1).sum())

    def take(self, rows: npt.NDArray[np.intp]) -> Paired:
        """These pairs alone."""
        original, released = self.forms
        return replace(
            self,
            pairs=tuple(self.pairs[row] for row in rows),
            patients=self.patients[rows],
            originals=self.originals[rows],
            released=self.released[rows],
            forms=(original[rows], released[rows]),
            sources=None if self.sources is None else self.sources[rows],
        )

    def at_most(self, films: int, seed: int) -> Paired:
        """All of the films of as many patients, drawn at random, as together have at most so many."""
        if len(self) <= films:
            return self
        _, owner, owned = np.unique(self.patients, return_inverse=True, return_counts=True)
        order = stream(seed, "audit", "who is looked at").permutation(len(owned))
        drawn = order[np.cumsum(owned[order]) <= films]
        rows = np.flatnonzero(np.isin(owner, drawn))
        told = f"{len(rows)} of {len(self)} films, all those of {len(drawn)} patients drawn at random, were looked at"
        return replace(self.take(rows), notes=(*self.notes, told))


def read(folders: Folders, size: int, progress: Progress, workers: int = 1) -> Paired:
    """The films of both folders that belong together, decoded; a `DataError` says why they cannot be audited."""
    original = FilmFolder.listed(folders.original, "--original")
    released = FilmFolder.listed(folders.released, "--released")
    if folders.table is None:
        raise DataError(
            "without a table nobody knows which films are of one patient, so nothing can be scored",
            given="no --table",
            allowed="a CSV with the columns filename,patient",
            do="write one and give it as --table",
        )
    entries = read_entries(folders.table, folders.columns)
    pairs, notes = matched(original, released, entries)
    seen, problems = _decoded(pairs, size, progress, workers)
    problems = [*original.problems, *released.problems, *problems]
    if len(problems) > folders.max_bad:
        raise DataError(
            "films that cannot be used",
            given=f"{len(problems)}: {_quoted([f'{one.file}: {one.reason}' for one in problems])}",
            allowed=str(folders.max_bad),
            do="repair them, take them out of the table, or go on without them by --max-bad",
        )
    kept = [pair for pair in pairs if pair in seen]
    _demand_people([pair.patient for pair in kept])
    firsts, seconds = ([seen[pair][side] for pair in kept] for side in (0, 1))
    notes += shapes([pair.original.name for pair in kept], firsts, seconds)
    return Paired(
        tuple(kept),
        np.unique([pair.patient for pair in kept], return_inverse=True)[1].astype(np.int64),
        np.stack([one.film for one in firsts]),
        np.stack([one.film for one in seconds]),
        (np.stack([one.form for one in firsts]), np.stack([one.form for one in seconds])),
        _sources([pair.source for pair in kept]),
        tuple(notes),
        tuple(problems),
    )


def matched(original: FilmFolder, released: FilmFolder, entries: Sequence[Entry]) -> tuple[list[Pair], list[str]]:
    """The pairs that the table names and the folders hold, in the table's order, and what is without a partner."""
    pairs, lost = [], []
    for entry in entries:
        first, second = original.called(entry.filename), released.called(entry.released)
        if first is None or second is None:
            lost.append(entry.filename)
        else:
            pairs.append(Pair(first, second, entry.patient, entry.source))
    for side, name in ((0, "original"), (1, "released")):
        used = Counter((pair.original, pair.released)[side].name for pair in pairs)
        twice = [film for film, times in used.items() if times > 1]
        if twice:
            raise DataError(
                f"several rows of the table mean one {name} film", given=_quoted(twice), do="mend the table"
            )
    if not pairs or len(pairs) < (1 - MOST_LOST) * min(len(original.films), len(released.films)):
        examples = [next(iter(folder.films)) for folder in (original, released)]
        raise DataError(
            "these folders and this table do not belong together",
            given=f"{len(pairs)} pairs of {len(original.films)} original and {len(released.films)} released films "
            f"by {len(entries)} rows; the first are called {examples[0]}, {examples[1]} and {entries[0].filename}"
            if entries
            else "a table without rows",
            allowed="files of one name, whatever their ending, or a column `released` in the table",
        )
    notes = []
    if lost:
        notes.append(f"{len(lost)} rows of the table were left out: no file of that name in one of the folders")
    for folder, name in ((original, "original"), (released, "released")):
        alone = len(folder.films) - len(pairs)
        if alone:
            notes.append(f"{alone} {name} films were left out: the table does not pair them")
    return pairs, notes


def shapes(names: Sequence[str], originals: Sequence[Seen], released: Sequence[Seen]) -> list[str]:
    """What was done to films of other sizes; an error where the two of a pair show different parts of a chest."""
    firsts, seconds = ([(one.width, one.height) for one in films] for films in (originals, released))
    other = [row for row, (a, b) in enumerate(zip(firsts, seconds, strict=True)) if not _one_shape(a, b)]
    squashed = [row for row in other if seconds[row][0] == seconds[row][1]]
    if len(squashed) < len(other):
        row = next(row for row in other if row not in set(squashed))
        raise DataError(
            "films of one pair have different shapes, as if a part had been cut off, and cannot be compared",
            given=f"{len(other)} pairs; {names[row]}: {_by(firsts[row])} original, {_by(seconds[row])} released",
            allowed="the same ratio of width to height, or squares",
            do="cut the originals in the same way",
        )
    notes = []
    sizes = {*firsts, *seconds}
    if len(sizes) > 1:
        notes.append(f"films of {len(sizes)} different sizes were brought to one size")
    if squashed:
        notes.append(
            f"{len(squashed)} released films are square and their originals are not: taken as squeezed, not as cut; "
            "had they been cut, the figures would be too low"
        )
    return notes


def _one_shape(some: tuple[int, int], other: tuple[int, int]) -> bool:
    ratio = some[0] * other[1] / (some[1] * other[0])
    return abs(ratio - 1) <= max(SAME_SHAPE, 2 / min(*some, *other))  # each side is rounded


def _by(extent: tuple[int, int]) -> str:
    return f"{extent[0]} x {extent[1]}"


def _sources(told: Sequence[str]) -> Codes | None:
    names, codes = np.unique(told, return_inverse=True)
    if not any(told):
        return None
    return np.where(names[codes] == "", -1, codes).astype(np.int64)


def _demand_people(patients: Sequence[str]) -> None:
    films = Counter(patients)
    several = sum(count > 1 for count in films.values())
    if films and not several:
        raise DataError(
            "every patient has one film, and who is found by another film of theirs cannot be known",
            given=f"{len(films)} patients with one film each",
            allowed=f"{FEWEST_SEVERAL} patients or more with two films or more",
            do="add films of the same patients",
        )
    if len(films) < FEWEST_PATIENTS or several < FEWEST_SEVERAL:
        raise DataError(
            "too few patients: whatever came out, chance could have done it",
            given=f"{len(films)} patients, {several} of them with two films or more",
            allowed=f"{FEWEST_PATIENTS} patients or more, {FEWEST_SEVERAL} of them with two films or more",
            do="add films",
        )


# Decoding -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Batch:
    pairs: tuple[Pair, ...]
    size: int


def _decoded(
    pairs: Sequence[Pair], size: int, progress: Progress, workers: int
) -> tuple[dict[Pair, tuple[Seen, Seen]], list[Problem]]:
    """Both films of every pair, and what is wrong with those that have none."""
    batches = [_Batch(tuple(pairs[start : start + BATCH]), size) for start in range(0, len(pairs), BATCH)]
    seen: dict[Pair, tuple[Seen, Seen]] = {}
    found: dict[Pair, Problem] = {}
    done = 0
    with closing(in_parallel(_look, batches, workers if len(pairs) > 10 * BATCH else 1)) as outcomes:
        for batch, (usable, problems) in outcomes:
            seen |= usable
            found |= problems
            done += len(batch.pairs)
            progress("reading films", done, len(pairs))
    return seen, [found[pair] for pair in pairs if pair in found]


def _look(batch: _Batch) -> tuple[dict[Pair, tuple[Seen, Seen]], dict[Pair, Problem]]:
    usable, problems = dict[Pair, tuple[Seen, Seen]](), dict[Pair, Problem]()
    for pair in batch.pairs:
        seen = []
        for file, side in ((pair.original, "original"), (pair.released, "released")):
            try:
                seen.append(look_at(file, batch.size))
            except Unusable as why:
                problems[pair] = Problem(f"{side} {file.name}", str(why))
                break
        else:
            usable[pair] = seen[0], seen[1]
    return usable, problems


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(names[:QUOTED]) + (", ..." if len(names) > QUOTED else "")
