"""How a hospital's table is written: in which encoding, and with what between its columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from fedcxr.errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}  # of two as likely, the first is taken
ENCODINGS = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp1252": "Windows-1252 (Latin-1)", "latin-1": "Latin-1"}
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how Excel's and LibreOffice's own files begin
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LONGEST_HEADER = 1 << 16  # characters
QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Dialect:
    """What a reader of CSV must be told."""

    encoding: str = "utf-8-sig"
    separator: str = ","

    @classmethod
    def of(cls, data: bytes, expected: Collection[str] = ()) -> Dialect:
        """The dialect of a whole file; of two separators, the one between more of the names that are expected."""
        if data.startswith(WORKBOOKS):
            raise DataError(
                "this is a workbook, not a CSV table", allowed="CSV or Parquet", do="save its sheet as CSV (UTF-8)"
            )
        encoding = _encoding(data)
        header = _first_record(_start(data, encoding))
        unquoted = Counter(QUOTED.sub("", header))

        def likely(separator: str) -> tuple[int, int]:
            names = {plain(name) for name in _fields(header, separator)}
            return len(names.intersection(expected)), unquoted[separator]

        return cls(encoding, max(SEPARATORS, key=likely))

    def names(self, data: bytes) -> list[str]:
        """Of the columns of a file in this dialect."""
        return _fields(_first_record(_start(data, self.encoding)), self.separator)

    def __str__(self) -> str:
        return f"{ENCODINGS[self.encoding]}, columns between {SEPARATORS[self.separator]}"


def plain(name: str) -> str:
    """A column's name without what people write differently: capitals, spaces, - and _."""
    return re.sub(r"[\s_.#-]+", "", name).casefold()


def _encoding(data: bytes) -> str:
    if data.startswith(UTF_16):
        return "utf-16"
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"  # in which every byte is a letter


def _start(data: bytes, encoding: str) -> str:
    return data[: 4 * LONGEST_HEADER].decode(encoding, errors="replace")[:LONGEST_HEADER]


def _first_record(text: str) -> str:
    """Up to the first end of a line that stands in no quotes."""
    quotes = 0
    for line in text.splitlines(keepends=True):
        quotes += line.count('"')
        if quotes % 2 == 0:
            return text[: text.index(line) + len(line)].rstrip("\r\n")
    return text


def _fields(header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(header), delimiter=separator), [])
    except csv.Error:
        return []
