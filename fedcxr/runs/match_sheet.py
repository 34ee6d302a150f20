"""The claim of a run as a picture: what was attacked, what was released of it, and whom the adversary took it for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedcxr.questions._matches import Match
from fedcxr.runs.colours import ORANGE, SKY
from fedcxr.runs.pictures import GAP, TILE, tile

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Film = npt.NDArray[np.uint8]  # (h, w)

PAPER, INK, SOFT = "#121212", "#ebebeb", "#a8a8a8"
MARGIN = 24
BETWEEN = 18  # pixels between columns
FRAME = 5  # width of the frame that says right or wrong
DASH = 12  # pixels of a dash, and of what is between two
COLUMNS = 4
WIDTH = 2 * MARGIN + COLUMNS * TILE + (COLUMNS - 1) * BETWEEN
SIZES = {"title": 24, "said": 17, "head": 14, "text": 13}  # pixels
LEADING = 1.32  # height of a line, in sizes
CAPTION = 4  # lines below a film

RIGHT, WRONG = (ORANGE, "RIGHT: the same patient"), (SKY, "WRONG: somebody else")


@dataclass(frozen=True)
class Row:
    """One attacked film. What is not to be seen is None."""

    match: Match
    original: Film
    released: Film | None
    found: Film  # the known film that was matched first
    own: Film  # the patient's known film that scored highest
    about: str  # the attacked film
    about_found: str


@dataclass(frozen=True)
class Told:
    """What stands above and between the films."""

    title: str
    said: Sequence[str]  # the claim, for whoever reads nothing else
    notes: Sequence[str]  # how it came about, and how to read it
    heads: tuple[str, str, str, str]  # over the columns
    sections: tuple[tuple[str, Sequence[Row]], ...]  # a line above some rows
    known: int  # films that each attacked one was compared with


def match_sheet(told: Told) -> Image:
    """A row per attacked film: original, released, matched first, and who it really was if that was wrong."""
    from PIL import Image, ImageDraw

    height = _drawn(told, ImageDraw.Draw(Image.new("RGB", (WIDTH, 1))), None)
    paper = Image.new("RGB", (WIDTH, height), PAPER)
    _drawn(told, ImageDraw.Draw(paper), paper)
    return paper


def _drawn(told: Told, pen: ImageDraw, paper: Image | None) -> int:
    """Where the drawing ends; without `paper` only the lettering is set, to find that out."""
    y = MARGIN
    y = _text(pen, y, [told.title], "title", INK)
    y = _text(pen, y + 6, told.said, "said", INK)
    y = _text(pen, y + 6, told.notes, "text", SOFT)
    for about, rows in told.sections:
        y = _text(pen, y + 16, [about], "said", INK)
        y = _row(pen, y + 4, [[(head, "head", INK)] for head in told.heads], 2) + FRAME + 3
        for row in rows:
            if paper is not None:
                _films(row, pen, paper, y)
            y = _row(pen, y + TILE + FRAME + 3, _captions(row, told.known), CAPTION) + GAP + FRAME
    return y + MARGIN


def _films(row: Row, pen: ImageDraw, paper: Image, y: int) -> None:
    from PIL import Image

    for column, film in enumerate((row.original, row.released, row.found, None if row.match.right else row.own)):
        x = _x(column)
        if film is None:
            pen.rectangle((x, y, x + TILE - 1, y + TILE - 1), outline="#3a3a3a")
            word = "nothing to look at" if column == 1 else "the match is right"
            pen.text((x + TILE / 2, y + TILE / 2), word, fill=SOFT, font=_font("text"), anchor="mm")
            continue
        paper.paste(Image.fromarray(tile(film)).convert("RGB"), (x, y))
        if column == 2:
            _frame(pen, x, y, *((RIGHT[0], False) if row.match.right else (WRONG[0], True)))


def _frame(pen: ImageDraw, x: int, y: int, colour: str, dashed: bool) -> None:
    """Around a film; dashes say the same to whoever sees no colours."""
    left, top, right, bottom = x - FRAME, y - FRAME, x + TILE + FRAME - 1, y + TILE + FRAME - 1
    step, long = (2 * DASH, DASH) if dashed else (DASH, DASH + 1)
    for at in range(0, TILE + 2 * FRAME, step):
        for edge in (top, bottom - FRAME + 1):
            pen.rectangle((left + at, edge, min(left + at + long - 1, right), edge + FRAME - 1), fill=colour)
        for edge in (left, right - FRAME + 1):
            pen.rectangle((edge, top + at, edge + FRAME - 1, min(top + at + long - 1, bottom)), fill=colour)


def _captions(row: Row, known: int) -> list[list[tuple[str, str, str]]]:
    """Lines below each film: what is said, how large, in which colour."""
    match = row.match
    colour, word = RIGHT if match.right else WRONG
    tied = [] if match.tied == 1 else [(f"drawn from {match.tied} with this score", "text", SOFT)]
    matched = [
        (word, "head", colour),
        (f"score {match.score:.2f}, place 1 of {known}", "text", INK),
        *tied,
        (row.about_found, "text", SOFT),
    ]
    own = [
        ("the patient's own film", "head", INK),
        (f"score {match.own_score:.2f}, place {match.own_place} of {known}", "text", INK),
    ]
    often = f"patient found by {match.first * match.films:.3g} of {match.films} film{'s' if match.films > 1 else ''}"
    return [[(row.about, "text", INK), (often, "text", SOFT)], [], matched, [] if match.right else own]


def _row(pen: ImageDraw, y: int, columns: Sequence[Sequence[tuple[str, str, str]]], least: int) -> int:
    """Lettering below each other in each column; where it ends, after `least` lines or more."""
    ends = [y + least * _leading("text")]
    for column, lines in enumerate(columns):
        at = y
        for line, size, colour in lines:
            at = _text(pen, at, [line], size, colour, _x(column), TILE)
        ends.append(at)
    return max(ends)


def _text(
    pen: ImageDraw, y: int, lines: Sequence[str], size: str, colour: str, x: int = MARGIN, width: int | None = None
) -> int:
    """Set lines, broken where they are too long; where they end."""
    font = _font(size)
    for line in lines:
        for part in _broken(line, width or WIDTH - 2 * MARGIN, lambda words: pen.textlength(words, font=font)):
            pen.text((x, y), part, fill=colour, font=font)
            y += _leading(size)
    return y


def _broken(line: str, width: int, length: Callable[[str], float]) -> list[str]:
    parts: list[str] = []
    for word in line.split():
        if parts and length(f"{parts[-1]} {word}") <= width:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return parts


def _x(column: int) -> int:
    return MARGIN + column * (TILE + BETWEEN)


def _leading(size: str) -> int:
    return round(SIZES[size] * LEADING)


def _font(size: str) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(SIZES[size])
