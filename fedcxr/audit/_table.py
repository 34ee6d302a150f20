"""The table of an audit: whose each film is, and what it is called in the other folder if not the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pydantic

from fedcxr.data._own_table import OwnTable
from fedcxr.errors import ConfigError, DataError

NEEDED = ("filename", "patient")


class Columns(pydantic.BaseModel):
    """What the table calls things."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    filename: str = "filename"
    patient: str = "patient"
    released: str = "released"  # optional, as is the next
    source: str = "source"  # where a film is from: a device, a ward, a publication

    @classmethod
    def told(cls, columns: Mapping[str, str]) -> Self:
        """What somebody says the table calls things."""
        try:
            return cls.model_validate(columns)
        except pydantic.ValidationError as error:
            named, known = ", ".join(str(part["loc"][0]) for part in error.errors()), ", ".join(cls.model_fields)
            what = "--columns names what no table of an audit has"
            raise ConfigError(what, given=named, allowed=known) from None


@dataclass(frozen=True)
class Entry:
    """A row of the table."""

    filename: str
    patient: str
    released: str  # the same as `filename` where the table does not say
    source: str = ""  # nothing where the table does not say


def read_entries(path: Path, columns: Columns) -> Sequence[Entry]:
    """Every row; a table that does not say whose a film is is an error."""
    own = OwnTable.at(path)
    named = [field for field in Columns.model_fields if field in NEEDED or field in columns.model_fields_set]
    names = {field: str(getattr(columns, field)) for field in Columns.model_fields}
    missing = [field for field in named if names[field] not in own.names]
    if missing:
        whose = any(field in NEEDED for field in missing)
        raise DataError(
            f"{path.name} does not say whose the films are: it lacks columns, so nothing can be scored"
            if whose
            else f"{path.name} lacks a column that --columns names",
            given=f"lacks {', '.join(names[field] for field in missing)}; has {', '.join(own.names)}",
            allowed="filename,patient and, if you like, released and source",
            do="name yours by --columns filename=...,patient=...",
        )
    there = [field for field in Columns.model_fields if field in named or names[field] in own.names]
    table = own.read(list(dict.fromkeys(names[field] for field in there)))
    rows = table.rows.apply(lambda texts: texts.str.strip())
    for field in there:
        if field != "source":
            table.refuse(rows[names[field]] == "", f"column {names[field]!r} is blank")
    films = rows[names["filename"]]
    table.refuse(films.duplicated(keep=False), "the same film stands twice", do="keep one row per film")
    released = rows[names["released"]] if "released" in there else films
    table.refuse(released.duplicated(keep=False), "the same released film stands twice", do="keep one row per film")
    sources = rows[names["source"]] if "source" in there else [""] * len(rows)
    return [Entry(*row) for row in zip(films, rows[names["patient"]], released, sources, strict=True)]
