"""Tables on a screen of any width: figures are never cut, words give way to them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fedcxr.table import Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Drawn

    from fedcxr.table import Table

GAP = 2  # columns between two cells
LABEL = 24  # columns that words are left with, at least, before figures go into another block below
PROSE = 100  # columns: longer lines are hard to read


def show(table: Table, console: Console) -> None:
    """Figures in as many blocks as the width takes, the first figures first; then notes, and what all that means."""
    if table.rows:
        for number, drawn in enumerate(_blocks(table, console.width)):
            console.print(*([""] if number else []), drawn, sep="\n")
    for note in table.notes:
        for line in textwrap.wrap(note, console.width - GAP):
            console.print(f"  {plain(line)}")
    if table.verdict:
        console.print()
        say(table.verdict, console)


def say(sentences: Sequence[str], console: Console) -> None:
    """A headline, and the sentences that it rests on as one paragraph."""
    width = min(console.width, PROSE)
    headline, *others = sentences
    for line in textwrap.wrap(headline, width):
        console.print(f"[bold]{plain(line)}[/]")
    for line in textwrap.wrap(" ".join(others), width):
        console.print(plain(line))


def plain(text: object) -> str:
    """Text in which brackets are brackets."""
    from rich.markup import escape

    return escape(str(text))


def _blocks(table: Table, width: int) -> Iterator[Drawn]:
    rows = [[*row.cells, *[""] * (len(table.heads) - len(row.cells))] for row in table.rows]
    widths = [max(_cells(head), *(_cells(row[place]) for row in rows)) for place, head in enumerate(table.heads)]
    doubts = max(_cells(row.doubt) for row in table.rows)
    words = max(_cells(table.title), *(_cells(row.about) for row in table.rows))
    beside = words + sum(GAP + one for one in widths) + (GAP + doubts if doubts else 0) <= width
    label = words if beside else min(LABEL, max(words, doubts))
    for number, places in enumerate(_shared_out(widths, width - label)):
        yield _block(table, rows, places, number == 0, beside)


def _shared_out(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Which columns stand in which block: as many as there is room for, and one at least."""
    block: list[int] = []
    taken = 0
    for place, one in enumerate(widths):
        if block and taken + GAP + one > room:
            yield block
            block, taken = [], 0
        block.append(place)
        taken += GAP + one
    yield block


def _block(table: Table, rows: Sequence[Sequence[str]], places: Sequence[int], first: bool, beside: bool) -> Drawn:
    from rich.table import Table as Drawn

    drawn = Drawn(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    drawn.add_column(plain(table.title) if first else "", overflow="fold", vertical="top")
    for place in places:
        drawn.add_column(plain(table.heads[place]), no_wrap=True, justify="right")
    doubtful = first and any(row.doubt for row in table.rows)
    if doubtful and beside:
        drawn.add_column("", no_wrap=True)
    for row, cells in zip(table.rows, rows, strict=True):
        figures = [plain(cells[place]) for place in places]
        if not first and not any(figures):
            continue
        doubt = f"[yellow]{plain(row.doubt)}[/]" if row.doubt else ""
        if beside:
            drawn.add_row(plain(row.about), *figures, *([doubt] if doubtful else []))
        else:
            drawn.add_row(_labelled(row, doubt if first else ""), *figures)
    return drawn


def _labelled(row: Row, doubt: str) -> str:
    return f"{plain(row.about)}: {doubt}" if doubt else plain(row.about)


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
