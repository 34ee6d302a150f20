"""How well each feature of released films agrees with that of the films themselves: one picture per run."""

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
NAME, CELL, LINE, GAP, TOP, SIZE = 270, 62, 17, 18, 92, 13  # pixels
ARMS = {"released": "released", "unauthorised": "no key"}


def agreement_map(figures: Mapping[str, Any], method: str) -> Image | None:
    """`utility.texture` as a picture, a line per feature; None: these are other figures."""
    from PIL import Image, ImageDraw, ImageFont

    if not {"features", "families", "constant"} <= figures.keys():
        return None
    arms = {"released": figures} | ({"unauthorised": figures["unauthorised"]} if figures["unauthorised"] else {})
    wide = NAME + CELL * len(arms) + GAP
    lines = max(sum(_height(family) for family in block) for block in BLOCKS)
    paper = Image.new("RGB", (GAP + wide * len(BLOCKS), TOP + LINE * lines), PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(SIZE)
    pen.text(
        (GAP, 12), "Which radiomics features agree with those of the films themselves", INK, ImageFont.load_default(20)
    )
    pen.text((GAP, 38), f"ICC(A,1) of {figures['films']} films; {method}", INK, font)
    for place, (name, most) in enumerate(CLASSES.items()):
        left = GAP + place * 190
        pen.rectangle([left, 60, left + 14, 74], COLOURS[name])
        pen.text((left + 20, 59), f"{name}, up to {most:.2f}" if most <= 1 else name, INK, font)
    for column, block in enumerate(BLOCKS):
        left, top = GAP + column * wide, TOP
        for family in block:
            pen.text((left, top), family, INK, ImageFont.load_default(15))
            for place, arm in enumerate(arms):
                pen.text((left + NAME + (place + 0.5) * CELL, top + 2), ARMS[arm], INK, font, anchor="mt")
            for name in NAMES:
                if name.startswith(f"{family}_"):
                    top += LINE
                    pen.text((left, top), name.removeprefix(f"{family}_"), INK, font)
                    for place, arm in enumerate(arms.values()):
                        _cell(pen, font, left + NAME + place * CELL, top, arm["features"].get(name))
            top += 2 * LINE
    return paper


def _height(family: str) -> int:
    """Lines of a family, with its head and what is free below."""
    return 2 + sum(name.startswith(f"{family}_") for name in NAMES)


def _cell(pen: Any, font: Any, left: float, top: float, feature: Mapping[str, Any] | None) -> None:
    known = feature is not None and feature["icc"]["value"] is not None
    colour = COLOURS[feature["class"]] if feature is not None and known else SOFT
    said = f"{feature['icc']['value']:.2f}" if feature is not None and known else "constant"
    ink = PAPER if feature is not None and feature["class"] in BRIGHT else INK
    pen.rectangle([left, top, left + CELL - 2, top + LINE - 2], colour)
    pen.text((left + CELL / 2 - 1, top + LINE / 2 - 1), said, ink, font, anchor="mm")
