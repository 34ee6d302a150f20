"""A hospital's own table: which of its columns mean what, as said in the scenario, and the findings in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import pandas as pd
import pydantic

from fedcxr.cohort import COLUMNS, FINDINGS, Split
from fedcxr.data import _splits
from fedcxr.data._dialect import Dialect
from fedcxr.data._guess import EXPECTED, LacksColumns, labels
from fedcxr.data._odd_labels import odd
from fedcxr.data._splits import Named, Names, Splits
from fedcxr.data._tables import Table, whole
from fedcxr.data._vocabulary import VOCABULARY, canonical, harmonised, union
from fedcxr.errors import DataError, StorageError

PARQUET = (".parquet", ".pq")
SEPARATORS = ("|", ";", ",", "/")  # of words, as likely as they stand here
MOST_LABELS = 64  # a column with more different words holds names or remarks, and labels are released
TRUTH = {
    **dict.fromkeys(("0", "0.0", "false", "no"), 0.0),
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("", "nan", "na"), np.nan),
}
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
SourceName = Annotated[
    str,
    pydantic.Field(
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="Its name in the index. Patients of two names are two persons, whatever their numbers.",
    ),
]


class Findings(pydantic.BaseModel):
    """Which findings a table holds: in a column for each, or as words in one column; ours where we know them."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...] = pydantic.Field((), description="Columns of 0, 1 or blank (unknown), one per finding.")
    label: str | None = pydantic.Field(None, description="A column of words, each of which is a finding.")
    separator: str = pydantic.Field("|", min_length=1, description="Between the words of one film.")
    only: tuple[str, ...] = pydantic.Field((), description="The words that count; none: all there are.")

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.columns and self.label is not None:
            raise ValueError("give the findings as `columns` or as a `label` column, not both")
        if self.only and self.label is None:
            raise ValueError("`only` chooses among the words of a `label` column, and none is given")
        for names in (self.columns, self.only):
            if len({canonical(name) for name in names}) < len(names):
                raise ValueError("a finding is named twice, perhaps in two spellings")
        _refuse_taken((*self.columns, *self.only))
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of the table it reads."""
        return self.columns if self.label is None else (self.label,)

    def read(self, table: Table) -> tuple[pd.DataFrame, dict[str, str]]:
        """The findings of each row, a float32 column each of 0, 1 or NaN, and how the table spells them.

        Without any column they are NIH's, all unknown.
        """
        if self.label is not None:
            return self._words(table, table.rows[self.label])
        if not self.columns:
            return pd.DataFrame(np.float32(np.nan), index=table.rows.index, columns=list(FINDINGS)), {}
        found, spellings = {}, harmonised(self.columns)
        for column, finding in spellings.items():
            text = table.rows[column].str.strip().str.lower()
            table.refuse(~text.isin(TRUTH), f"column {column!r} is no finding", allowed="0, 1 or blank (unknown)")
            found[finding] = text.map(TRUTH).astype(np.float32)
        return pd.DataFrame(found)[list(union(found))], spellings

    @property
    def said(self) -> bool:
        """Whether anybody said where findings stand."""
        return bool(self.needed)

    def guessed(self, table: OwnTable, taken: Collection[str]) -> Findings:
        """Where they seem to stand in a table: in columns of our findings' names, or as words in the one of labels."""
        names = [name for name in table.names if name not in taken]
        named = [name for name in names if canonical(name) in VOCABULARY]
        if named:
            rows = table.read(named).rows
            true = [name for name in named if rows[name].str.strip().str.lower().isin(TRUTH.keys()).all()]
            if true and len({canonical(name) for name in true}) == len(true):
                return self.model_copy(update={"columns": tuple(true)})
        words = labels(names)
        if len(words) != 1:
            return self
        texts = table.read(words).rows[words[0]]
        separator = self.separator if "separator" in self.model_fields_set else _separator(set(texts))
        found = self.model_copy(update={"label": words[0], "separator": separator})
        return found if len(found._films(texts)) <= MOST_LABELS else self

    def doubts(self, table: Table) -> tuple[str, ...]:
        """What its owner should look at before they believe what the findings say."""
        if self.label is None:
            return ()
        words = self._films(table.rows[self.label])
        return odd({word: films for word, films in words.items() if not self.only or word in self.only})

    def _films(self, label: pd.Series) -> Counter[str]:
        """How many films bear each word."""
        return Counter(word for text in label for word in self._in(text))

    def _in(self, text: str) -> set[str]:
        """The words of one film."""
        return {word for part in text.split(self.separator) if (word := part.strip())}

    def __str__(self) -> str:
        if self.label is None:
            return f"findings are the columns {', '.join(self.columns)}"
        return f"findings are the words of {self.label!r}, with {self.separator!r} between them"

    def _words(self, table: Table, label: pd.Series) -> tuple[pd.DataFrame, dict[str, str]]:
        codes, texts = pd.factorize(label)
        words = [self._in(text) for text in texts]
        every = sorted(set().union(*words))
        if not self.only and len(every) > MOST_LABELS:
            raise DataError(
                f"{table.path.name}: column {self.label!r} does not look like labels",
                given=f"{len(every)} different words",
                allowed=f"up to {MOST_LABELS}",
                do="name those that count in `findings.only`",
            )
        # Two spellings of one finding are one word: a film shows it if either stands there.
        spellings = {word: canonical(word) for word in every}
        missing = [word for word in self.only if canonical(word) not in spellings.values()]
        if missing:
            raise DataError(f"column {self.label!r} lacks these words", given=", ".join(missing))
        names = union(self.only or every)
        try:
            _refuse_taken(names)
        except ValueError as error:
            raise DataError(f"{table.path.name}: {error}") from None
        meant = [{spellings[word] for word in here} for here in words]
        shown = np.array([[name in here if here else np.nan for name in names] for here in meant], dtype=np.float32)
        found = pd.DataFrame(shown.reshape(len(texts), len(names))[codes], index=label.index, columns=list(names))
        return found, {word: finding for word, finding in spellings.items() if finding in names}


def existing(path: Path) -> Path:
    """The table, if it is there."""
    if not path.is_file():
        raise DataError("there is no such table", given=path, do="set `table` to its path from `root`")
    return path


@dataclass(frozen=True)
class OwnTable:
    """A CSV or Parquet file of which only the names of its columns are read so far."""

    path: Path
    names: tuple[str, ...]
    dialect: Dialect | None  # None: Parquet

    @classmethod
    def at(cls, path: Path) -> OwnTable:
        """The file, however it is written."""
        if path.suffix.lower() in PARQUET:
            return cls(path, tuple(map(str, _parquet(path).columns)), None)
        data = whole(path)
        try:
            dialect = Dialect.of(data, EXPECTED)
        except DataError as error:
            raise DataError(f"{path.name}: {error}") from None
        names = tuple(name.strip() for name in dialect.names(data))
        if not any(names):
            raise DataError(
                "this is no CSV table", given=path, do="save it as CSV again, with a line of columns' names"
            )
        return cls(path, names, dialect)

    def read(self, columns: Collection[str]) -> Table:
        """These columns as text (blank: "")."""
        wanted = list(dict.fromkeys(columns))
        missing = [column for column in wanted if column not in self.names]
        if missing:
            raise LacksColumns(f"{self.path.name} lacks columns", (), self.names, given=", ".join(missing))
        if self.dialect is not None:
            return Table.read(self.path, wanted, self.dialect)
        rows = _parquet(self.path)[wanted].reset_index(drop=True)
        return Table(self.path, rows.astype(object).where(rows.notna(), "").astype(str))


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise DataError("there is no such table", given=path) from None
    except ImportError:
        raise DataError(
            "Parquet tables need pyarrow, which is not installed",
            do="run .venv/bin/python -m pip install 'pyarrow>=17' (or with the Python of your own), or give a CSV",
        ) from None
    except OSError as error:
        raise StorageError("cannot read the table", given=path, do=error.strerror or "damaged") from None
    except Exception as error:  # a damaged file fails in ways of pyarrow's own
        raise DataError("this is no Parquet table", given=path, do=type(error).__name__) from None


def names_splits(table: OwnTable, column: str) -> bool:
    """Whether a column says which split each film is in."""
    return bool(table.read([column]).rows[column].str.strip().str.lower().isin(SPLIT_NAMES.keys()).all())


def split_of(splits: Splits, root: Path, films: Named, table: Table, column: str | None) -> Names:
    """A split per film: from the table's column, from lists, or by chance where there is neither."""
    if splits.by == "lists":
        lists = {split: _splits.read_list(file) for split, file in splits.files(root).items()}
        return _splits.by_lists(lists, films, splits)
    if splits.by == "random" or column is None:
        return _splits.by_chance(films.people, splits)
    text = table.rows[column].str.strip().str.lower()
    table.refuse(~text.isin(SPLIT_NAMES), f"column {column!r} names no split", allowed=", ".join(SPLIT_NAMES))
    return text.map(SPLIT_NAMES).to_numpy(dtype=object)


def numbered_sources(name: str, written: Sequence[str]) -> Names:
    """`name-1`, `name-2`, ... for what a column of sources says: a ward or an address would name the hospital."""
    codes, found = pd.factorize(np.asarray(written, dtype=object), sort=True)
    return np.array([f"{name}-{number + 1}" for number in range(len(found))], dtype=object)[codes]


def _separator(texts: Collection[str]) -> str:
    """What stands between words: no part may be of less sense than the whole, as in `Effusion, left`."""
    for separator in SEPARATORS:
        joined = [text for text in texts if separator in text]
        parts = {part.strip() for text in joined for part in text.split(separator)}
        if joined and (separator == "|" or all(part in texts or canonical(part) in VOCABULARY for part in parts)):
            return separator
    return SEPARATORS[0]


def _refuse_taken(names: Collection[str]) -> None:
    taken = [name for name in names if name in COLUMNS]
    if taken:
        raise ValueError(f"a finding cannot be called {taken[0]!r}: the index has a column of that name")
