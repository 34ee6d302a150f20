"""How good a federation's model became, round by round, beside what it is compared with: one picture per run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fedcxr.runs.colours import CURVES
from fedcxr.table import figure

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER, INK, SOFT = "#ffffff", "#202020", "#d0d0d0"
WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 64, 56  # margins, in pixels; names of lines stand at the right
APART = 18  # pixels between two names
SIZE = 15

# What the model is compared with, and what that is called beside its line.
LEVELS = {
    "raw": "the ceiling of all methods",
    "together": "all films at one place",
    "alone": "each site alone, mean",
    "start": "where it began",
}


def learning_curve(figures: Mapping[str, Any], method: str) -> Image | None:
    """`utility.findings` of a federation's method as a picture; None: it has no curve that could be drawn."""
    from PIL import Image, ImageDraw, ImageFont

    points = [(int(p["round"]), float(p["mean_auc"])) for p in figures.get("curve") or () if p["mean_auc"] is not None]
    if len(points) < 2:
        return None
    means = {arm: figures[arm]["mean_auc"]["value"] for arm in LEVELS if figures.get(arm)}
    levels = {arm: float(value) for arm, value in means.items() if value is not None}
    heights = [value for _, value in points] + list(levels.values())
    low, high = (min(heights) * 50 // 1) / 50, -(-max(heights) * 50 // 1) / 50  # to the next .02
    last = points[-1][0]

    def x(number: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * number / last

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / max(high - low, 1e-9)

    paper = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(SIZE)
    pen.text((LEFT, 14), "How well the shared model tells findings, round by round", INK, ImageFont.load_default(20))
    pen.text((LEFT, 40), f"mean AUC on films of the test split; {method}", INK, font)
    for tick in _ticks(low, high):
        pen.line([(LEFT, y(tick)), (WIDTH - RIGHT, y(tick))], SOFT)
        pen.text((LEFT - 8, y(tick)), figure(tick), INK, font, anchor="rm")
    for number in sorted({0, last, *(round(last * part / 4) for part in (1, 2, 3))}):
        pen.text((x(number), HEIGHT - BOTTOM + 8), str(number), INK, font, anchor="mt")
    pen.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14), "round", INK, font, anchor="ms")
    names = [("shared model", points[-1][1], CURVES[0])]
    for (arm, value), colour in zip(levels.items(), CURVES[1:], strict=False):
        _dashed(pen, x(0), x(last), y(value), colour)
        names.append((LEVELS[arm], value, colour))
    pen.line([(x(number), y(value)) for number, value in points], CURVES[0], width=3)
    for number, value in points:
        pen.ellipse([x(number) - 3, y(value) - 3, x(number) + 3, y(value) + 3], CURVES[0])
    for (name, value, colour), height in zip(names, _spread([y(value) for _, value, _ in names]), strict=True):
        pen.text((WIDTH - RIGHT + 12, height), f"{figure(value)} {name}", colour, font, anchor="lm")
    return paper


def _ticks(low: float, high: float) -> list[float]:
    step = 0.02 if high - low <= 0.2 else 0.05
    first = -(-low // step) * step
    return [first + step * number for number in range(int((high - first) / step + 1e-6) + 1)]


def _spread(heights: Sequence[float]) -> list[float]:
    """The same places, moved apart as far as names need, in their order."""
    placed = list(heights)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for upper, lower in pairwise(order):
        placed[lower] = max(placed[lower], placed[upper] + APART)
    return placed


def _dashed(pen: Any, start: float, end: float, height: float, colour: str, dash: int = 8) -> None:
    for place in range(int(start), int(end), 2 * dash):
        pen.line([(place, height), (min(place + dash, end), height)], colour, width=2)
