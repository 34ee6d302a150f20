"""A world in which an adversary is asked something: everybody's films, whose they are, and what was shared of them.

The real one is a simulation's, or an auditor's; a control takes place in another, in which nothing was protected or in
which identities mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Cohort
from fedcxr.data import Source
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.learning import Report
from fedcxr.methods import Method, RunContext
from fedcxr.methods.none import Unprotected
from fedcxr.rng import stream
from fedcxr.view import Films, Holder, Nobody, Rows, Shared, View

Bools = npt.NDArray[np.bool_]
Lent = Callable[[str, str], ReleaseKey]  # a site's key for its release in this run, or with a suffix for another


@dataclass(frozen=True)
class Traces:
    """What the sites released, and what only the experimenter knows of it."""

    shared: Shared
    films: Rows  # (m,) for each released row the film it was made of; -1: it belongs to nobody
    sites: npt.NDArray[np.object_]  # (m,) who released it
    key_of: Lent
    opened: Callable[[], View] | None = None  # what is seen by whoever has every site's key; None: there are none
    readers: Callable[[], Mapping[str, Bools]] = dict  # (m,) by name, which rows are open to whom sites granted keys
    reports: Sequence[Report] = ()  # what sites told of their learning, for the method's guarantee
    there: Bools | None = None  # (n,) the films of all sites that took part, released or learnt from; None: all films

    def __len__(self) -> int:
        return len(self.films)


class Elsewhere(Protocol):
    """Opens films of people whom none of the hospitals has."""

    def __call__(self, behind: Rows, source: Source | None, people: int | None) -> Cohort:
        """These of the hospitals' films, and behind them those of so many people, or of all, from a source.

        None: people as the hospitals', where these are made up. The pixels are one array, mapped from disk.
        """
        ...


def _nowhere(behind: Rows, source: Source | None, people: int | None) -> Cohort:
    raise DataError("nobody has films from elsewhere in this world", given=people)


@dataclass(frozen=True)
class Roles:
    """Who plays which part in a question, film by film of everybody's."""

    attacked: Bools  # (n,) asked about
    owned: Bools  # (n,) the adversary's own
    known: Bools  # (n,) of people who are asked about, in the adversary's hands from elsewhere
    member: Bools  # (n,) learnt from
    album: Cohort | None = None  # all films of the adversary's own, first those above; None: it has no others


@dataclass(frozen=True)
class World:
    """All there is to know."""

    cohort: Cohort  # n films
    patients: npt.NDArray[np.object_]  # (n,) whose they are
    method: Method
    seed: int
    context: RunContext
    sites: tuple[str, ...]
    traces: Traces | None = None  # None: nothing has been released yet
    protects: bool = True  # False: what the sites released were the films themselves
    shown: Films | None = None  # (m, h, w) what they were instead, where they were not these
    elsewhere: Elsewhere = _nowhere

    @property
    def tested(self) -> Bools:
        """Which films are of the test split: of the people on whom all is measured, and of whom nobody learns."""
        return np.asarray(self.cohort.index["split"].to_numpy() == "test")

    @property
    def released(self) -> Traces:
        """What the sites released; asked for only once they have."""
        assert self.traces is not None, "nothing has been released yet"
        return self.traces

    def rows_of(self, films: Bools) -> Bools:  # (m,)
        """Which released rows were made of these films."""
        behind = self.released.films
        return np.asarray((behind >= 0) & films[behind])

    def own(self, roles: Roles) -> Cohort:
        """All films of the adversary's own."""
        return self.cohort.take(roles.owned) if roles.album is None else roles.album

    def view(self, holder: Holder | None = None) -> View:
        """What was released as the holder of some keys sees it, or as everybody does."""
        if not self.protects:
            films = self.cohort.films(self.released.films) if self.shown is None else self.shown
            return View({"films": films}, np.ones(len(films), dtype=np.bool_), np.zeros(len(films), dtype=np.int64))
        return self.method.view(self.released.shared, holder or Nobody(), self.context)

    # Worlds for controls ----------------------------------------------------------------------------------------------

    def unprotected(self) -> World:
        """The same world, had the sites released the films themselves."""
        traces = self.traces
        if traces is not None:
            real = traces.films >= 0
            traces = replace(traces, films=traces.films[real], sites=traces.sites[real])
        return replace(self, method=Unprotected(), protects=False, traces=traces)

    def laid_open(self) -> World:
        """The same world, had the sites released the films, and behind these all as they look to who has every key.

        Whoever attacks films attacks both with what it learns once.
        """
        plain = self.unprotected()
        if self.traces is None or self.traces.opened is None:
            return plain
        films, real = plain.released.films, self.traces.films >= 0
        opened = np.asarray(self.traces.opened().forms["films"], dtype=np.uint8)[real]
        readers = {name: rows[real] for name, rows in self.traces.readers().items()}
        twice = replace(
            plain.released,
            films=np.tile(films, 2),
            sites=np.tile(plain.released.sites, 2),
            readers=lambda: {name: np.concatenate([np.zeros_like(rows), rows]) for name, rows in readers.items()},
        )
        return replace(plain, traces=twice, shown=np.concatenate([self.cohort.films(films), opened]))

    @property
    def opened(self) -> Bools:  # (m,)
        """Which released rows are films as they look to who has every key."""
        rows = np.arange(len(self.released))
        return rows >= len(rows) // 2 if self.shown is not None else np.zeros(len(rows), dtype=np.bool_)

    def shuffled(self) -> World:
        """A world in which identities mean nothing: a patient for every film, at random.

        Of the people who are attacked and of all others apart, and one draw for the adversary's own films and for the
        answers: should a film ever stand on both sides, what was learnt about it will show as an AUC above chance.
        """
        patients, test = self.patients.copy(), self.tested
        for part, name in ((test, "test"), (~test, "auxiliary")):
            patients[part] = stream(self.seed, "control", "identities", name).permutation(patients[part])
        return replace(self, patients=patients, elsewhere=partial(_shuffled, self.elsewhere, self.seed))


def _shuffled(elsewhere: Elsewhere, seed: int, behind: Rows, source: Source | None, people: int | None) -> Cohort:
    """The same films, those from elsewhere under each other's names."""
    album = elsewhere(behind, source, people)
    patients, others = album.patients.copy(), slice(len(behind), None)
    patients[others] = stream(seed, "control", "identities", "elsewhere").permutation(patients[others])
    return replace(album, index=album.index.assign(patient=patients))
