"""Measures of utility: one file per task, each read off the very bytes that were released."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import SPLITS, Annotation, Cohort, Split
from fedcxr.methods import Form, Method, Workshop
from fedcxr.plugins import Plugin
from fedcxr.storage.artefacts import Artefacts
from fedcxr.table import Table
from fedcxr.view import Array, Films, Rows, View, Weights

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """All that was shared, as its recipient sees it, and the films of the sites (which only the experimenter holds)."""

    view: View  # n rows
    labels: npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN, as released
    split: npt.NDArray[np.int8]  # (n,) index into cohort.SPLITS, as released
    origin: Rows  # (n,) which of the sites' films a row was made of; -1: it belongs to nobody
    cohort: Cohort  # m films of the sites, in the order in which they were released where they were
    versions: npt.NDArray[np.int64]  # (m,) which of what the method learnt is the site's whose film it is
    method: Method
    taught: tuple[Weights, ...] = ({},)  # what the method learnt, by version
    unauthorised: Films | None = None  # (n, h, w) rows as others see them; None: nothing is kept from others

    @cached_property
    def clean(self) -> Films:  # (m, h, w)
        """The sites' films."""
        return self.cohort.films()

    @cached_property
    def patients(self) -> npt.NDArray[np.object_]:  # (n,)
        """Whose each row is, for intervals by patient and never for training; a row of nobody's is its own."""
        alone = np.array([f"nobody {row}" for row in range(len(self.origin))], dtype=object)
        return alone if not len(self.cohort) else np.where(self.origin >= 0, self.cohort.patients[self.origin], alone)

    def rows(self, split: Split) -> Bools:  # (n,)
        """The released rows of one split."""
        return np.asarray(self.split == SPLITS.index(split))

    def films(self, split: Split) -> Bools:  # (m,)
        """The sites' films of one split."""
        return np.asarray(self.cohort.index["split"].to_numpy() == split)

    def own(self, form: Form, films: Bools, workshop: Workshop) -> Array | None:
        """Some of the sites' films as hospitals have them of their own, in one of the forms; None: in none."""
        places = np.flatnonzero(films)
        found: Array | None = None
        for version, weights in enumerate(self.taught):
            here = self.versions[places] == version
            part = self.method.clean(form, self.clean[places[here]], weights, workshop)
            if part is None:
                return None
            found = np.empty((len(places), *part.shape[1:]), dtype=part.dtype) if found is None else found
            found[here] = part
        return found


def _silently(stage: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Bench:
    """Where a task works: from which seed, on which hardware, whom it tells, and where it finds earlier work."""

    seed: int
    compute: Compute
    progress: Progress = _silently
    artefacts: Artefacts | None = None  # None: nothing is kept for other runs


class Task(Plugin):
    """Answers: how good is what one can do with the releases? Its fields are keys under `tasks:` in a scenario."""

    @property
    def forms(self) -> tuple[Form, ...]:
        """What it reads of what is shared: any of these will do."""
        return ("films",)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """What it must find beside the films it is measured on: a scenario whose sources lack it is refused."""
        return ()

    def applies(self, evidence: Evidence) -> bool:
        """Whether there is anything to measure: a recipient without a key sees nothing."""
        return bool(evidence.view.opened.any())

    def foresee(self, cohort: Cohort, bench: Bench) -> None:
        """Do, for later, whatever needs nothing but the sites' films, in the order in which they will be released."""

    @abstractmethod
    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        """The task's part of `utility` in result.json; what does not apply is None."""

    def table(self, figures: Mapping[str, Any]) -> Table | None:
        """What people are shown of its figures; None: nothing."""
        return None
