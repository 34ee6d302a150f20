"""Films of people whom none of the hospitals has, for an adversary who owns more than is to be had there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import Cohort
from fedcxr.data import Source
from fedcxr.data._vocabulary import align_cohort, union
from fedcxr.errors import ConfigError, DataError
from fedcxr.knowledge._some_people import some_people
from fedcxr.partition import Rows
from fedcxr.rng import derive, stream
from fedcxr.scenario import Scenario
from fedcxr.storage.disk import explained
from fedcxr.storage.private import private_folder
from fedcxr.tasks import Progress

OTHERS = derive(0, "people of no hospital")  # where the seeds of rendered people begin that nobody attacks
FILMS_AT_ONCE = 4096  # copied: 16 MB of 64 px


@dataclass(frozen=True)
class Opening:
    """How a simulation opens films: as its scenario peoples them, into a cache, with so many workers."""

    scenario: Scenario
    cache: Path
    workers: int = 1
    progress: Progress | None = None

    def films(self, source: Source, what: str) -> Cohort:
        """All films of a source."""
        told = partial(self.progress, what) if self.progress else None
        return self.scenario.films_of(source).open(self.cache, workers=self.workers, progress=told)


@dataclass(frozen=True)
class Opened:
    """Opens what an adversary owns besides the hospitals' films, once for all questions and worlds.

    Its films lie in one array that is mapped from disk: in the store they were rendered to, or in a file without a
    name, which is gone with the process. Nothing of it is dealt to a site or tested on.
    """

    cohort: Cohort  # of the hospitals
    opening: Opening
    kept: dict[tuple[bytes, str, int | None], Cohort] = field(default_factory=dict, compare=False)

    def __call__(self, behind: Rows, source: Source | None, people: int | None) -> Cohort:
        if self.opening.scenario.alike != "none":
            raise ConfigError(
                "films of the adversary's own from elsewhere are not made alike, which would weaken it",
                given=f"alike: {self.opening.scenario.alike}",
                do="leave knowledge.own_films as it usually is, or set alike to none",
            )
        spec = "" if source is None else json.dumps(source.spec(), sort_keys=True)
        key = (behind.tobytes(), spec, people)
        if key not in self.kept:
            films = self._further(people) if source is None else self._of(source, people)
            self.kept[key] = self._behind(self.cohort.take(behind), films)
        return self.kept[key]

    def _further(self, people: int | None) -> Cohort:
        """People like those at the first hospital where they are made up, filmed by its scanners."""
        scenario = self.opening.scenario
        for site, source in zip(scenario.site_names, scenario.hospital_sources, strict=False):
            if not source.real:
                films = self._of(source, people)
                # Hospitals with films of their own have scanners of their own, too.
                scanners = (f"{site}/" if scenario.own_sources else "") + films.index["source"]
                return replace(films, index=films.index.assign(source=scanners))
        raise DataError(
            "there are no further people like those at the hospitals, who are real",
            given=f"{people} more",
            do="lower knowledge.own_films.people, or name a source of others under knowledge.own_films.source",
        )

    def _of(self, source: Source, people: int | None) -> Cohort:
        films = self.opening.films(source.others(OTHERS, people), "films of the adversary's own")
        self._refuse_films_of_hospitals(films, source)
        return films if people is None else self._some(films, people)

    def _some(self, films: Cohort, people: int) -> Cohort:
        there = len(np.unique(films.patients))
        if people > there:
            raise DataError(
                "knowledge.own_films asks for more people than its source has", given=people, allowed=f"2 to {there}"
            )
        return films if people == there else films.take(some_people(films, people, stream(OTHERS, "own people")))

    def _refuse_films_of_hospitals(self, films: Cohort, source: Source) -> None:
        if films.size != self.cohort.size:
            raise DataError(
                "knowledge.own_films.source has films of another size than the hospitals'",
                given="{} x {}".format(*films.size),
                allowed="{} x {}".format(*self.cohort.size),
            )
        if not source.real:
            return  # other seeds, other people
        theirs = {film.tobytes() for chunk in self.cohort.chunks() for film in chunk}
        same = sum(film.tobytes() in theirs for chunk in films.chunks() for film in chunk)
        if same:
            raise DataError(
                "knowledge.own_films.source holds films of the hospitals, some of which are attacked",
                given=f"{same} of {len(films)} films",
                do="name films of other people",
            )

    def _behind(self, first: Cohort, films: Cohort) -> Cohort:
        """Behind these; alone, without a copy where the store holds them and no others."""
        alone = not len(first) and np.array_equal(films.rows, np.arange(films.pixels.shape[0]))
        return films if alone else _one_after_the_other(first, films, self.opening.cache)


def _one_after_the_other(first: Cohort, second: Cohort, folder: Path) -> Cohort:
    """Two cohorts as one."""
    vocabulary = union(first.findings, second.findings)
    cohorts = [align_cohort(cohort, vocabulary) for cohort in (first, second)]
    pixels = _mapped(cohorts, second.size, folder)
    return Cohort.whole(pixels, pd.concat([cohort.index for cohort in cohorts], ignore_index=True), vocabulary)


def _mapped(cohorts: Sequence[Cohort], size: tuple[int, int], folder: Path) -> npt.NDArray[np.uint8]:
    """Their films in one array, read from a file that has no name."""
    shape = (sum(map(len, cohorts)), *size)
    with explained(folder), tempfile.TemporaryFile(dir=private_folder(folder)) as file:
        for chunk in _chunks(cohorts):
            file.write(np.ascontiguousarray(chunk).data)
        file.flush()
        return np.memmap(file, dtype=np.uint8, mode="r", shape=shape)


def _chunks(cohorts: Sequence[Cohort]) -> Iterator[npt.NDArray[np.uint8]]:
    for cohort in cohorts:
        yield from cohort.chunks(FILMS_AT_ONCE)
