"""Tables of a page: a caption, and heads that say to what they belong."""

from __future__ import annotations

from collections.abc import Sequence

from fedcxr.page import text


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]], *, kind: str = "") -> str:
    """Of plain words and numbers: the first cell of a row says what it is about."""
    return drawn(caption, heads, [("", [text(cell) for cell in row]) for row in rows], kind=kind)


def drawn(caption: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, kind: str = "") -> str:
    """Of cells that are markup already; with each row go its own attributes."""
    named = f' class="{kind}"' if kind else ""
    body = "".join(
        f"<tr{f' {attributes}' if attributes else ''}>"
        f'<th scope="row">{cells[0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells[1:])}</tr>'
        for attributes, cells in rows
    )
    return (
        f'<div class="wide" role="group" aria-label="{text(caption)}" tabindex="0"><table{named}>'
        f"<caption>{text(caption)}</caption>"
        f"<thead><tr>{''.join(f'<th scope=col>{text(head)}</th>' for head in heads)}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
