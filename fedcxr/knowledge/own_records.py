"""What is written down about the adversary's own films: sex, age, findings, and whose scanner made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.cohort import Cohort
from fedcxr.knowledge import Holding, Knowledge
from fedcxr.world import Roles, World

UNKNOWN = -1
SEXES = {"F": 0, "M": 1}
BANDS = (40, 60)  # years at which the next age band begins


@dataclass(frozen=True)
class Column:
    """Something that is true of a film or not, and the attribute that it is about."""

    name: str
    attribute: str
    finding: int | None = None  # which of the findings it is


@dataclass(frozen=True)
class Records:
    """Of some films, one row for each; UNKNOWN where nobody knows."""

    sex: npt.NDArray[np.int8]  # (n,) 0: F, 1: M
    age: npt.NDArray[np.float32]  # (n,) years
    source: npt.NDArray[np.int64]  # (n,) numbers of scanners, in the order in which the adversary's own films name them
    findings: npt.NDArray[np.int8]  # (n, k) of 0 and 1
    names: tuple[str, ...]  # (k,) of findings
    sources: int  # scanners among the adversary's own films

    @classmethod
    def of(cls, cohort: Cohort, own: Cohort) -> Records:
        """Of a cohort's films, scanners numbered as an adversary does who has these of its own."""
        index, scanners = cohort.index, pd.unique(own.index["source"])
        age = pd.to_numeric(index["age"], errors="coerce").to_numpy(dtype=np.float32)
        labels = cohort.labels
        return cls(
            sex=np.array([SEXES.get(str(sex), UNKNOWN) for sex in index["sex"]], dtype=np.int8),
            age=np.where(np.isnan(age), np.float32(UNKNOWN), age),
            source=pd.Index(scanners).get_indexer(pd.Index(index["source"])).astype(np.int64),
            findings=np.where(np.isnan(labels), np.float32(UNKNOWN), labels).astype(np.int8),
            names=cohort.findings,
            sources=len(scanners),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is asked of every film, in this order."""
        return tuple(column for column, _ in self._columns())

    @property
    def targets(self) -> npt.NDArray[np.float32]:  # (n, columns) of 0, 1 and NaN
        """What is true of every film."""
        return np.stack([values for _, values in self._columns()], axis=1)

    @property
    def labels(self) -> npt.NDArray[np.float32]:  # (n, k) of 0, 1 and NaN
        """The findings alone."""
        return _known(self.findings, self.findings == 1)

    def _columns(self) -> Iterator[tuple[Column, npt.NDArray[np.float32]]]:
        yield Column("male", "sex"), _known(self.sex, self.sex == 1)
        first, second = BANDS
        yield Column(f"below {first}", "age"), _known(self.age, self.age < first)
        yield Column(f"{first} to {second - 1}", "age"), _known(self.age, (self.age >= first) & (self.age < second))
        yield Column(f"{second} and over", "age"), _known(self.age, self.age >= second)
        for number in range(self.sources):
            yield Column(f"source {number + 1}", "source"), _known(self.source, self.source == number)
        for number, name in enumerate(self.names):
            yield Column(name, name, number), self.labels[:, number]


class OwnRecords(Knowledge):
    """Sex, age, findings and scanner of the adversary's own films, where they are known."""

    before_releases: ClassVar[bool] = True

    known: bool = pydantic.Field(True, description="sex, age, findings and scanner of the adversary's own films")

    @property
    def granted(self) -> bool:
        return self.known

    def held(self, world: World, roles: Roles) -> Holding | None:
        if not self.known:
            return None
        mine = world.own(roles)
        records = Records.of(mine, mine)
        arrays = {name: getattr(records, name) for name in ("sex", "age", "source", "findings")}
        return Holding(arrays, {"names": list(records.names), "sources": records.sources})


def records_in(holding: Holding) -> Records:
    """The records that were handed over."""
    arrays: dict[str, Any] = {name: np.array(array) for name, array in holding.arrays.items()}
    return Records(**arrays, names=tuple(holding.facts["names"]), sources=int(holding.facts["sources"]))


def _known(told: npt.NDArray[np.generic], true: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """1 and 0 where something is told, NaN elsewhere."""
    return np.where(told == UNKNOWN, np.float32(np.nan), true.astype(np.float32))
