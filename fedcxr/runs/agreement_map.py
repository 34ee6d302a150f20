"""How well each feature of what was shared agrees with that of the films themselves: a cell for each, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedcxr.metrics.agreement import CLASSES
from fedcxr.metrics.radiomics import NAMES
from fedcxr.runs.colours import BLUE, SKY, VERMILION, YELLOW

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER, INK, SOFT = "#ffffff", "#202020", "#e4e4e4"
COLOURS = dict(zip(CLASSES, (VERMILION, YELLOW, SKY, BLUE), strict=True))
BRIGHT = ("excellent", "poor")  # colours on which text is white
BLOCKS = (("firstorder", "ngtdm"), ("glcm",), ("glrlm", "gldm"), ("glszm",))  # families below each other
NAME, LINE, GAP, TOP, SIZE = 270, 17, 18, 88, 13  # pixels
WIDE, NARROW, NAMED = 66, 42, 2  # of a cell; more columns than so many are narrow, with a number for a name

Figures = Mapping[str, Any]  # of the task `texture`


def of_run(figures: Figures, method: str) -> Image | None:
    """What a run's task found, with the key and without; None: these are figures of another task."""
    if not {"features", "families", "constant"} <= figures.keys():
        return None
    shown = {"released": figures} | ({"no key": figures["unauthorised"]} if figures["unauthorised"] else {})
    return agreement_map(shown, f"{figures['films']} films; {method}")


def agreement_map(columns: Mapping[str, Figures], about: str) -> Image:
    """A line for each feature, and a column for each way in which films were shared."""
    from PIL import Image, ImageDraw, ImageFont

    cell = WIDE if len(columns) <= NAMED else NARROW
    heads = list(columns) if len(columns) <= NAMED else [str(number + 1) for number in range(len(columns))]
    wide = NAME + cell * len(columns) + GAP
    legend = [] if len(columns) <= NAMED else [f"{number}  {name}" for number, name in zip(heads, columns, strict=True)]
    top = TOP + LINE * bool(legend)
    lines = max(sum(_height(family) for family in block) for block in BLOCKS)
    paper = Image.new("RGB", (GAP + wide * len(BLOCKS), top + LINE * lines), PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(SIZE)
    title, head = ImageFont.load_default(20), ImageFont.load_default(15)
    pen.text((GAP, 10), "Which radiomics features agree with those of the films themselves", INK, title)
    pen.text((GAP, 36), f"ICC(A,1); {about}", INK, font)
    for place, (name, most) in enumerate(CLASSES.items()):
        left = GAP + place * 170
        pen.rectangle([left, 58, left + 14, 72], COLOURS[name])
        pen.text((left + 20, 57), f"{name}, up to {most:.2f}" if most <= 1 else name, INK, font)
    pen.text((GAP, 78), "      ".join(legend), INK, font)
    for place, block in enumerate(BLOCKS):
        left, line = GAP + place * wide, top
        for family in block:
            pen.text((left, line), family, INK, head)
            for column, name in enumerate(heads):
                pen.text((left + NAME + (column + 0.5) * cell, line + 2), name, INK, font, anchor="mt")
            for name in _of(family):
                line += LINE
                pen.text((left, line), name.removeprefix(f"{family}_"), INK, font)
                for column, figures in enumerate(columns.values()):
                    box = (left + NAME + column * cell, line, cell - 2)
                    _cell(pen, font, box, figures["features"].get(name))
            line += 2 * LINE
    return paper


def _height(family: str) -> int:
    """Lines of a family, with its head and what is free below."""
    return 2 + len(_of(family))


def _of(family: str) -> list[str]:
    return [name for name in NAMES if name.startswith(f"{family}_")]


def _cell(pen: Any, font: Any, box: tuple[int, int, int], feature: Mapping[str, Any] | None) -> None:
    """Of a feature that varies; of others a dash."""
    left, top, wide = box
    known = feature is not None and feature["class"] is not None
    kind = feature["class"] if feature is not None and known else ""
    said = f"{feature['icc']['value']:.2f}" if feature is not None and known else "-"
    pen.rectangle([left, top, left + wide, top + LINE - 2], COLOURS.get(kind, SOFT))
    pen.text((left + wide / 2, top + LINE / 2 - 1), said, PAPER if kind in BRIGHT else INK, font, anchor="mm")
