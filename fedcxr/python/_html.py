"""What a notebook shows of a result: a heading, a table and pictures, in which nothing is anything but text."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from fedcxr.table import figure, span
from fedcxr.verdict import Figure

MOST_PICTURES = 4
LARGEST = 1 << 20  # bytes of a picture that a notebook keeps


def shown(found: Figure) -> tuple[str, str]:
    """A figure and its interval, as cells."""
    ends = None if found.low is None or found.high is None else (found.low, found.high)
    return figure(found.value), span(ends)


def page(heading: str, heads: Sequence[str], rows: Sequence[Sequence[str]], pictures: Sequence[Path] = ()) -> str:
    """All of it; pictures stand in it as data, so that the notebook can be sent on."""
    return "".join(_parts(heading, heads, rows, pictures))


def _parts(
    heading: str, heads: Sequence[str], rows: Sequence[Sequence[str]], pictures: Sequence[Path]
) -> Iterator[str]:
    yield f"<section><h4>{escape(heading)}</h4><table>"
    if heads:
        yield f"<tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
    yield "</table>"
    small = [path for path in pictures if path.stat().st_size <= LARGEST]
    for path in small[:MOST_PICTURES]:
        data = base64.b64encode(path.read_bytes()).decode()
        yield f'<p><img alt="{escape(path.stem)}" style="max-width:100%" src="data:image/png;base64,{data}"></p>'
    yield "</section>"
