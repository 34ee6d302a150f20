"""Measures of utility: one file per task, each read off the very bytes that were released."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import SPLITS, Annotation, Cohort, Split
from fedcxr.errors import DataError
from fedcxr.methods import Form, Method, RunContext
from fedcxr.metrics.paired import Replicates
from fedcxr.plugins import Plugin
from fedcxr.storage.artefacts import Artefacts
from fedcxr.table import Table
from fedcxr.view import Array, Films, Rows, View, Weights

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all
Bools = npt.NDArray[np.bool_]


Rounds = Callable[[], Iterator[tuple[int, Weights]]]


def _no_rounds() -> Iterator[tuple[int, Weights]]:
    return iter(())


@dataclass(frozen=True, kw_only=True)
class Material:
    """All that was shared, as its recipient sees it: what a coordinator has."""

    view: View  # n rows
    labels: npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN, as its recipient can read them
    split: npt.NDArray[np.int8]  # (n,) index into cohort.SPLITS, likewise; -1: not told
    released_by: npt.NDArray[np.object_]  # (n,) which site
    findings: tuple[str, ...]  # k names
    method: Method
    taught: tuple[Weights, ...] = ({},)  # what the method learnt, by version

    @property
    def patients(self) -> npt.NDArray[np.object_]:  # (n,)
        """Whose each row is, as far as anybody can tell who has releases alone: its own."""
        return np.array([f"nobody {row}" for row in range(len(self.split))], dtype=object)

    def rows(self, split: Split) -> Bools:  # (n,)
        """The released rows of one split."""
        return np.asarray(self.split == SPLITS.index(split))


@dataclass(frozen=True, kw_only=True)
class Evidence(Material):
    """The same beside the films of the sites, which only the experimenter of a simulation holds."""

    origin: Rows  # (n,) which of the sites' films a row was made of; -1: it belongs to nobody
    cohort: Cohort  # m films of the sites, in the order in which they were released where they were
    versions: npt.NDArray[np.int64]  # (m,) which of what the method learnt is the site's whose film it is
    sites: npt.NDArray[np.object_]  # (m,) who holds it
    unauthorised: Films | None = None  # (n, h, w) rows as others see them; None: nothing is kept from others
    rounds: Rounds = _no_rounds  # of a federation's learning, what each made; 0 is where all began

    @cached_property
    def clean(self) -> Films:  # (m, h, w)
        """The sites' films."""
        return self.cohort.films()

    @property
    def patients(self) -> npt.NDArray[np.object_]:  # (n,)
        """Whose each row is, for intervals by patient and never for training; a row of nobody's is its own."""
        alone = super().patients
        return alone if not len(self.cohort) else np.where(self.origin >= 0, self.cohort.patients[self.origin], alone)

    def lent(self, split: Split) -> tuple[Bools, npt.NDArray[np.float32]]:
        """The released rows of one split and their findings, to somebody who can read neither and is lent both."""
        real = self.origin >= 0
        rows = np.where(real, self.films(split)[self.origin], self.rows(split))
        return rows, np.where(real[:, None], self.cohort.labels[self.origin], self.labels)[rows]

    def films(self, split: Split) -> Bools:  # (m,)
        """The sites' films of one split."""
        return np.asarray(self.cohort.index["split"].to_numpy() == split)

    def own(self, form: Form, films: Bools, context: RunContext) -> Array | None:
        """Some of the sites' films as hospitals have them of their own, in one of the forms; None: in none."""
        places = np.flatnonzero(films)
        found: Array | None = None
        for version, weights in enumerate(self.taught):
            here = self.versions[places] == version
            part = self.method.clean(form, self.clean[places[here]], weights, context)
            if part is None:
                return None
            found = np.empty((len(places), *part.shape[1:]), dtype=part.dtype) if found is None else found
            found[here] = part
        return found


def _silently(stage: str, done: int, total: int) -> None:
    pass


def _forget(figure: str, replicates: Replicates | None) -> None:
    pass


@dataclass(frozen=True)
class Bench:
    """Where a task works: from which seed, on which hardware, whom it tells, and where it finds earlier work."""

    seed: int
    compute: Compute
    progress: Progress = _silently
    artefacts: Artefacts | None = None  # None: nothing is kept for other runs
    keep: Callable[[str, Replicates | None], None] = _forget  # of a figure by its path, to compare policies by it


@dataclass(frozen=True)
class Taught:
    """What a task has learnt from what was shared, on its way to where it is tested."""

    weights: Weights
    findings: tuple[str, ...]  # what it tells of a film, in this order


@dataclass(frozen=True)
class Main:
    """The one figure of a task by which ways of sharing stand beside each other: more is better, and 1 the best."""

    path: str  # one of the task's `bounds`
    name: str  # what it is called at the head of a column
    says: str  # what it is, as a sentence goes on after `how good is it:`


Tested = Mapping[str, Array]  # what comes back from one site: figures of its films, and never a film


class Task(Plugin):
    """Answers: how good is what one can do with the releases? Its fields are keys under `tasks:` in a scenario."""

    bounds: ClassVar[tuple[str, ...]] = ()  # its figures with intervals, by path, to which a study may set a bound
    main: ClassVar[Main | None] = None  # which of these tables of many runs show; None: none of them

    @property
    def forms(self) -> tuple[Form, ...]:
        """What it reads of what is shared: any of these will do."""
        return ("films",)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """What it must find beside the films it is measured on: a scenario whose sources lack it is refused."""
        return ()

    @property
    def named_sites(self) -> tuple[str, ...]:
        """Sites that its keys name: a scenario without them is refused."""
        return ()

    def applies(self, evidence: Evidence) -> bool:
        """Whether there is anything to measure: a recipient without a key sees nothing."""
        return bool(evidence.view.opened.any())

    def demand(self, cohort: Cohort) -> None:
        """Refuse, before anything is released, films of all sites on which there would be nothing to measure."""

    def foresee(self, cohort: Cohort, bench: Bench) -> None:
        """Do, for later, whatever needs nothing but the sites' films, in the order in which they will be released."""

    @abstractmethod
    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        """The task's part of `utility` in result.json; what does not apply is None."""

    # Where the films are elsewhere ------------------------------------------------------------------------------------

    def teach(self, material: Material, bench: Bench) -> Taught | None:
        """What is to be tested on films that lie at the sites; None: this task has nothing to send there."""
        return None

    def tested(self, taught: Taught, cohort: Cohort, method: Method, bench: Bench) -> Tested:
        """What a site tells of its own films, at the site."""
        raise DataError(f"the task {self.plugin_name()} is not tested at sites")

    def check(self, tested: Tested, taught: Taught) -> None:
        """Refuse what one site told if there are no figures to be had of it: the others' must not end by it."""

    def figures(self, tested: Mapping[str, Tested], taught: Taught, bench: Bench) -> dict[str, Any]:
        """The figures of what all sites, by name, told of theirs."""
        raise DataError(f"the task {self.plugin_name()} is not tested at sites")

    def table(self, figures: Mapping[str, Any]) -> Table | None:
        """What people are shown of its figures; None: nothing."""
        return None
