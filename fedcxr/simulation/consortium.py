"""Several hospitals' cohorts read as one: their films stay in their own stores, their findings get one vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import ORGANS, Annotations, Cohort, Organ
from fedcxr.data._vocabulary import align_cohort, union
from fedcxr.errors import ConfigError
from fedcxr.partition import Rows, check_disjoint


def join(cohorts: Mapping[str, Cohort]) -> tuple[Cohort, dict[str, Rows]]:
    """All films of these sites as one cohort, and which of its rows each site holds.

    A finding a site never looked for is unknown there. A patient at two sites is an error: whoever wants travellers
    deals one cohort out instead.
    """
    sizes = {site: "{} x {}".format(*cohort.size) for site, cohort in cohorts.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{site} {size}" for site, size in sizes.items())
        raise ConfigError("the sites' films have different sizes", given=told, do="give all the same `size`")
    vocabulary = union(*(cohort.findings for cohort in cohorts.values()))
    aligned = {site: align_cohort(cohort, vocabulary) for site, cohort in cohorts.items()}
    # Two sites may use one name for their scanners, which are not the same scanners.
    indices = [cohort.index.assign(source=f"{site}/" + cohort.index["source"]) for site, cohort in aligned.items()]
    index = pd.concat(indices, ignore_index=True)
    ends = np.cumsum([len(cohort) for cohort in aligned.values()])
    dealt = {
        site: np.arange(end - len(cohort), end, dtype=np.intp)
        for (site, cohort), end in zip(aligned.items(), ends, strict=True)
    }
    check_disjoint(index, dealt, shared_patients_allowed=False)
    stores = Stores.of(list(aligned.values()))
    return Cohort.whole(stores, index, vocabulary, stores.annotations()), dealt


@dataclass(frozen=True)
class Stores:
    """The pixels of several cohorts, film after film, without a copy: what `Cohort.pixels` needs of an array."""

    cohorts: Sequence[Cohort]
    starts: Rows  # (cohorts,) where each one's films begin
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, cohorts: Sequence[Cohort]) -> Stores:
        lengths = np.array([len(cohort) for cohort in cohorts], dtype=np.intp)
        return cls(cohorts, np.cumsum(lengths) - lengths, (int(lengths.sum()), *cohorts[0].size))

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return np.dtype(np.uint8)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:  # (n, h, w)
        films = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        for cohort, own, within in self.owners(rows):
            films[own] = cohort.films(within)
        return films

    def owners(self, rows: Rows) -> Iterator[tuple[Cohort, npt.NDArray[np.bool_], Rows]]:
        """Each cohort that holds some of these films, which of them (n,), and where it holds them."""
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for place in np.unique(owner):
            own = owner == place
            yield self.cohorts[place], own, rows[own] - self.starts[place]

    def annotations(self) -> Annotations:
        """What any of the sites has; of the others' films there is none."""
        organs = [organ for organ in ORGANS if any(organ in cohort.annotations.masks for cohort in self.cohorts)]
        boxes = [
            _moved_up(cohort.boxes(), int(start))
            for cohort, start in zip(self.cohorts, self.starts, strict=True)
            if cohort.annotations.boxes is not None
        ]
        together = pd.concat(boxes, ignore_index=True) if boxes else None
        return Annotations({organ: StoredMasks(self, organ) for organ in organs}, together)


def _moved_up(boxes: pd.DataFrame, start: int) -> pd.DataFrame:
    return boxes.assign(film=boxes["film"] + start)


@dataclass(frozen=True)
class StoredMasks:
    """The masks of several cohorts, film after film: what `Annotations` need of a store of masks."""

    stores: Stores
    organ: Organ

    @cached_property
    def there(self) -> npt.NDArray[np.bool_]:
        has = (
            cohort.masked(self.organ) if self.organ in cohort.annotations.masks else np.zeros(len(cohort), np.bool_)
            for cohort in self.stores.cohorts
        )
        return np.concatenate(list(has))

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:  # (n, h, w)
        masks = np.empty((len(rows), *self.stores.shape[1:]), dtype=np.bool_)
        for cohort, own, within in self.stores.owners(rows):
            masks[own] = cohort.mask(self.organ, within)
        return masks
