"""Which column of a hospital's table means what, where the scenario does not say: by its usual names, or not at all.

A wrong patient would make every figure of an audit wrong, so that of two columns that may be meant none is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedcxr.data._dialect import plain
from fedcxr.errors import DataError

# Our name for a column, and what hospitals and data sets call it, as `plain` has it. The first is never doubted.
USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "filename", "file", "path", "filepath", "imagefile", "imagepath", "imagename", "imageindex"),
    "patient": ("patient", "patientid", "patientnumber", "subject", "subjectid", "person", "personid", "pid"),
    "view": ("view", "viewposition", "projection"),
    "age": ("age", "patientage", "ageyears"),
    "sex": ("sex", "gender", "patientsex", "patientgender"),
    "split": ("split",),
}
LABEL = ("label", "labels", "finding", "findings", "findinglabels", "diagnosis", "diagnoses", "class", "category")
NEEDED = ("image", "patient")
EXPECTED = frozenset(name for names in (*USUAL.values(), LABEL) for name in names)


class LacksColumns(DataError):
    """A table in which a column is not found.

    The error may travel, and what stands in the first line of a table without a header may be a patient's name: which
    columns there are is for the table's owner alone.
    """

    def __init__(self, what: str, ours: Sequence[str], columns: Sequence[str], given: str | None = None) -> None:
        self.what, self.ours, self.columns, self.named = what, tuple(ours), tuple(columns), given
        super().__init__(what, given=given, do=f"{self._do}; `fedcxr data check` lists its {len(columns)} columns")

    @property
    def _do(self) -> str:
        return f"say --columns {','.join(f'{name}=NAME' for name in self.ours)}" if self.ours else "check columns"

    @property
    def in_full(self) -> DataError:
        """For whoever has the table before them."""
        return DataError(
            self.what, given=self.named, allowed=f"one of its columns: {', '.join(self.columns)}", do=self._do
        )


@dataclass(frozen=True)
class Guess:
    """Columns by our names: those that were said, and those that were guessed."""

    columns: Mapping[str, str | None]
    guessed: tuple[str, ...]  # our names

    @classmethod
    def of(cls, said: Mapping[str, str | None], names: Sequence[str], table: str) -> Guess:
        """From what was said (None: nothing) and the names of the table's columns."""
        found = dict(said)
        for ours in (ours for ours, column in said.items() if column is None and ours in USUAL):
            meant = _meant(ours, names)
            if len(meant) == 1:
                found[ours] = meant[0]
            elif ours in NEEDED and meant:
                raise LacksColumns(f"{table}: several columns may be the {ours}", [ours], meant)
        missing = [ours for ours in NEEDED if found[ours] is None]
        if missing:
            raise LacksColumns(f"{table} lacks columns", missing, names, given=" and ".join(missing))
        return cls(found, tuple(ours for ours in found if said[ours] is None and found[ours] is not None))

    def without(self, ours: str) -> Guess:
        """The same, had nothing been found for one of them."""
        return Guess({**self.columns, ours: None}, tuple(name for name in self.guessed if name != ours))

    def __str__(self) -> str:
        return ", ".join(f"{ours} is {self.columns[ours]!r}" for ours in self.guessed)

    def __bool__(self) -> bool:
        """Whether anything was taken that is not called so."""
        return any(self.columns[ours] != ours for ours in self.guessed)


def labels(names: Sequence[str]) -> list[str]:
    """The columns that may hold findings as words."""
    return [name for name in names if plain(name) in LABEL]


def _meant(ours: str, names: Sequence[str]) -> list[str]:
    certain = [name for name in names if name == ours]
    return certain or [name for name in names if plain(name) in USUAL[ours]]
