"""The table of a data set and the films it names, read strictly: whatever is wrong is one line for a person.

A message names lines, never what stands in the columns of names: a site's errors travel to the server.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.data._dialect import Dialect
from fedcxr.data._listing import MISSING, Problem
from fedcxr.errors import DataError, StorageError

PUBLISHED = Dialect()  # of data sets: UTF-8 and commas
MOST_ROWS = 2_000_000  # ten times the largest data set of chest films
MOST_BYTES = 1 << 27  # of a table, unpacked


class _Bounded(io.RawIOBase):
    """A file that ends in an error when more comes out of it than a table has: a packed kilobyte can be a gigabyte."""

    def __init__(self, path: Path) -> None:
        packed = path.suffix == ".gz"
        self._file: IO[bytes] = cast(IO[bytes], gzip.open(path) if packed else path.open("rb"))  # noqa: SIM115
        self._read = 0
        self._path = path

    @classmethod
    def opened(cls, path: Path) -> io.BufferedReader:
        if path.exists() and not path.is_file():
            raise IsADirectoryError(errno.EISDIR, "not a regular file", str(path))
        return io.BufferedReader(cls(path))

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        data = self._file.read(len(into))
        self._read += len(data)
        if self._read > MOST_BYTES:
            raise DataError("this table is too large", given=self._path, allowed=f"{MOST_BYTES >> 20} MiB, unpacked")
        into[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class Table:
    """Some columns of a CSV file as text (blank: ""), and how to complain about its rows."""

    path: Path
    rows: pd.DataFrame

    @classmethod
    def read(cls, path: Path, columns: Sequence[str], dialect: Dialect = PUBLISHED) -> Table:
        """These columns, all of which must exist; others are ignored. `.gz` is unpacked."""
        with _explained(path), warnings.catch_warnings():
            # A header with fewer names than the rows have fields: the names it has are right.
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            rows = pd.read_csv(
                _Bounded.opened(path),
                nrows=MOST_ROWS + 1,
                usecols=lambda name: name.strip() in columns,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding=dialect.encoding,
                sep=dialect.separator,
                skip_blank_lines=False,
            )
        if len(rows) > MOST_ROWS:
            raise DataError("this table has too many rows", given=path, allowed=f"{MOST_ROWS}")
        rows.columns = rows.columns.str.strip()
        missing = [column for column in columns if column not in rows.columns]
        if missing:
            raise DataError(f"{path.name} lacks columns", given=", ".join(missing), do="use the table as published")
        if not rows.columns.is_unique:
            raise DataError(f"{path.name} has columns twice", given=", ".join(rows.columns))
        rows = rows[list(columns)].fillna("")  # short rows
        blank = (rows == "").all(axis=1)
        return cls(path, rows[~blank])

    def meanings(
        self, column: str, meaning: Callable[[str], object], what: str, *, allowed: str
    ) -> npt.NDArray[np.object_]:
        """What each row's text means, worked out once for equal texts; None is an error."""
        codes, texts = pd.factorize(self.rows[column])
        found = np.empty(len(texts), dtype=object)
        found[:] = [meaning(text.strip()) for text in texts]
        unknown = np.array([value is None for value in found], dtype=np.bool_)
        self.refuse(unknown[codes], what, allowed=allowed)
        return found[codes]

    def refuse(self, bad: npt.ArrayLike, what: str, *, allowed: str | None = None, do: str | None = None) -> None:
        """An error if any row is bad, which names the first ones by their line."""
        lines = self.lines[np.asarray(bad, dtype=bool)]
        if len(lines):
            named = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
            raise DataError(
                f"{self.path.name}: {what}", given=f"{len(lines)} rows, in lines {named}", allowed=allowed, do=do
            )

    def notes(self, rows: npt.NDArray[np.bool_], column: str, remark: str) -> tuple[Problem, ...]:
        """A remark on some rows, with what they say."""
        written = zip(self.lines[rows], self.rows[column][rows], strict=True)
        return tuple(Problem(f"{self.path.name}, line {line}", f"{remark}: {text!r}") for line, text in written)

    @property
    def lines(self) -> npt.NDArray[np.intp]:
        """The line of each row, as an editor counts them."""
        return self.rows.index.to_numpy(dtype=np.intp) + 2


def whole(path: Path) -> bytes:
    """A table's bytes, unpacked."""
    with _explained(path), _Bounded.opened(path) as file:
        return file.read()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a reader of CSV says of a file into what a user can act on."""
    try:
        yield
    except FileNotFoundError:
        raise DataError("there is no such table", given=path) from None
    except OSError as error:
        reason = error.strerror or "damaged"  # a damaged .gz is an OSError without a number
        raise StorageError("cannot read the table", given=path, do=reason) from None
    except (ValueError, OverflowError, EOFError, csv.Error, zlib.error):
        raise DataError("this is no CSV table", given=path, do="download it, or save it as CSV, again") from None


class Paths(Sequence[Path]):
    """Many paths in few folders, each made when it is asked for: all at once would outweigh the index."""

    def __init__(self, folders: Sequence[Path], folder: npt.NDArray[np.intp], names: npt.NDArray[np.object_]) -> None:
        self._folders = tuple(folders)
        self._folder = folder  # (n,) which of the folders each lies in
        self._names = names  # (n,) below its folder

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Path]:
        return (self._folders[folder] / name for folder, name in zip(self._folder, self._names, strict=True))

    @overload
    def __getitem__(self, place: int) -> Path: ...
    @overload
    def __getitem__(self, place: slice) -> Paths: ...
    def __getitem__(self, place: int | slice) -> Path | Paths:
        if isinstance(place, slice):
            return Paths(self._folders, self._folder[place], self._names[place])
        folder: Path = self._folders[self._folder[place]]
        return folder / str(self._names[place])

    def take(self, rows: npt.NDArray[np.generic]) -> Paths:
        """The paths at these positions, or under this mask."""
        return Paths(self._folders, self._folder[rows], self._names[rows])


def absent(images: npt.NDArray[np.object_], there: npt.NDArray[np.bool_]) -> tuple[Problem, ...]:
    """What to say of the images a table names and the disk lacks."""
    return tuple(Problem(image, MISSING) for image in images[~there])


def find(root: Path, *names: str) -> Path | None:
    """The first of these files that lies in the folder, packed or not."""
    for name in names:
        for path in (root / name, root / f"{name}.gz"):
            if os.access(path, os.F_OK):  # False also where the folder may not be entered
                return path
    return None
