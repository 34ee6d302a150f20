"""How the scanner of each source turns X-rays into grey values, and what it writes on the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from fedcxr.data.phantom.visits import VERSION
from fedcxr.rng import stream


@dataclass(frozen=True)
class Style:
    """One scanner with its processing."""

    gamma: float  # above 1 darkens the middle greys
    contrast: float
    level: float  # brightness
    detail: float  # local contrast, what vendors call multi-frequency processing
    grain: float  # noise
    scatter: float  # veil of scattered rays
    collimated: float  # share of films with a border
    border: float  # its grey value
    marker: str  # letter on the film
    marker_x: float  # its place from the left and from the top, as share of the film
    marker_y: float


STYLES = (
    Style(0.90, 1.00, 0.00, 0.45, 1.0, 0.9, 0.15, 0.02, "R", 0.05, 0.05),
    Style(1.15, 1.05, 0.03, 0.90, 0.8, 0.7, 0.30, 0.00, "L", 0.88, 0.04),
    Style(0.75, 0.78, 0.08, 0.10, 1.8, 1.3, 0.05, 0.10, "R", 0.04, 0.14),
    Style(1.35, 1.15, -0.02, 0.70, 0.6, 0.8, 0.50, 0.00, "L", 0.84, 0.10),
    Style(0.95, 0.88, 0.12, 1.30, 1.2, 1.0, 0.10, 0.95, "", 0.0, 0.0),
    Style(1.05, 0.70, -0.08, 0.25, 1.0, 1.1, 0.20, 0.25, "A", 0.06, 0.88),
)

GLYPHS = {
    "L": ("1000", "1000", "1000", "1000", "1000", "1111"),
    "R": ("1110", "1001", "1001", "1110", "1010", "1001"),
    "A": ("0110", "1001", "1001", "1111", "1001", "1001"),
}


def style_of(seed: int, source: int) -> Style:
    """The scanner of a source; from the seventh on, the six come again a little changed."""
    base = STYLES[source % len(STYLES)]
    if source < len(STYLES):
        return base
    draws = stream(seed, "phantom", VERSION, "style", source)
    changed = {
        name: getattr(base, name) * float(np.exp(0.15 * draws.standard_normal()))
        for name in ("gamma", "contrast", "detail", "grain", "scatter", "collimated")
    }
    return replace(base, **changed)


def numbers(styles: Sequence[Style]) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """The numeric fields of styles: their names, and one row per style."""
    names = tuple(field.name for field in fields(Style) if field.name != "marker")
    return names, np.array([[getattr(style, name) for name in names] for style in styles], dtype=np.float32)


def stamp(film: npt.NDArray[np.uint8], style: Style, scale: float, shift: float) -> None:
    """Writes the marker on one film (size, size), `scale` times 8 % of it high, moved by a share of its size."""
    if not style.marker:
        return
    size = len(film)
    dots = np.array([[dot == "1" for dot in line] for line in GLYPHS[style.marker]])
    height = max(5, round(0.08 * scale * size))  # fewer rows would not show the letter
    width = max(2, round(height * 2 / 3))
    rows = np.arange(height) * dots.shape[0] // height
    columns = np.arange(width) * dots.shape[1] // width
    top = min(round((style.marker_y + 0.05 * shift) * size), size - height)
    left = min(round((style.marker_x + 0.03 * shift) * size), size - width)
    film[top : top + height, left : left + width][dots[np.ix_(rows, columns)]] = 245
