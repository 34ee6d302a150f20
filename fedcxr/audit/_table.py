"""The table of an audit: whose each film is, and what it is called in the other folder if not the same."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydantic

from fedcxr.data._own_table import read_own_table
from fedcxr.errors import DataError


class Columns(pydantic.BaseModel):
    """What the table calls things."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    filename: str = "filename"
    patient: str = "patient"
    released: str = "released"


@dataclass(frozen=True)
class Entry:
    """A row of the table."""

    filename: str
    patient: str
    released: str  # the same as `filename` where the table does not say


def read_entries(path: Path, columns: Columns) -> Sequence[Entry]:
    """Every row; a table that does not say whose a film is is an error."""
    heads = _heads(path)
    wanted = [columns.filename, columns.patient]
    missing = [name for name in wanted if heads is not None and name not in heads]
    if missing:
        raise DataError(
            f"{path.name} does not say whose the films are: it lacks columns, so nothing can be scored",
            given=f"lacks {', '.join(missing)}; has {', '.join(heads or ())}",
            allowed="filename,patient and, if you like, released",
            do="name yours by --columns filename=...,patient=...",
        )
    renamed = heads is not None and columns.released in heads
    table = read_own_table(path, [*wanted, *([columns.released] if renamed else [])])
    rows = table.rows.apply(lambda texts: texts.str.strip())
    for column in rows.columns:
        table.refuse(rows[column] == "", f"column {column!r} is blank")
    table.refuse(
        rows[columns.filename].duplicated(keep=False), "the same film stands twice", do="keep one row per film"
    )
    released = rows[columns.released if renamed else columns.filename]
    table.refuse(released.duplicated(keep=False), "the same released film stands twice", do="keep one row per film")
    return [Entry(*row) for row in zip(rows[columns.filename], rows[columns.patient], released, strict=True)]


def _heads(path: Path) -> list[str] | None:
    """The names of a CSV's columns; None where the file is no plain CSV, and reading it will tell."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [name.strip() for name in next(csv.reader([file.readline(1 << 16)]), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
