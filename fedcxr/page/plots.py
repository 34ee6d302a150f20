"""Figures between chance and certainty: marks with their intervals on a line, and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedcxr.page import text
from fedcxr.page.svg import WIDTH, circle, label, line, path, svg

ROW = 24  # units between two marks
LOWEST = 0.4  # AUC at the left end of a line
HEIGHT = 190  # of curves
LETTER = 6.6  # units that a letter takes


@dataclass(frozen=True)
class Mark:
    """A figure on a line: whose it is, the ends of its interval, and how it is drawn."""

    name: str
    value: float | None
    ci95: Sequence[float] | None = None
    kind: str = "other"  # other | worst | doubt
    at_least: bool = False


def marks(title: str, told: Sequence[Mark], band: float | None = None, description: str = "") -> str:
    """An AUC a row, with intervals; in the band, from chance to there, a success would have gone unnoticed."""
    left = min(max((len(one.name) for one in told), default=0), 34) * LETTER + 14
    right, bottom = WIDTH - 66.0, ROW * len(told) + 6.0

    def x(auc: float) -> float:
        return left + (max(auc, LOWEST) - LOWEST) / (1 - LOWEST) * (right - left)

    parts = []
    if band is not None:
        parts.append(
            f'<rect x="{x(0.5):.1f}" y="0" width="{max(x(band) - x(0.5), 0):.1f}" height="{bottom}" class="band"/>'
        )
    for tenth in range(4, 11):
        across = x(tenth / 10)
        parts.append(line((across, 0), (across, bottom), "chance" if tenth == 5 else "grid"))
        parts.append(label((across, bottom + 15), f"{tenth / 10:.1f}", "tick"))
    for place, one in enumerate(told):
        y = ROW * place + ROW / 2 + 3
        parts.append(label((left - 10, y + 4), _short(one.name), "name"))
        if one.value is None:
            parts.append(label((right + 12, y + 4), "unknown", "tick from"))
            continue
        if one.ci95 is not None:
            parts.append(line((x(one.ci95[0]), y), (x(one.ci95[1]), y), f"span {one.kind}"))
        parts.append(circle((x(one.value), y), 4.5, one.kind))
        parts.append(label((right + 12, y + 4), f"{'≥ ' if one.at_least else ''}{one.value:.3f}", "value"))
    return svg(title, bottom + 22, parts, description)


def curves(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    across: str,
    *,
    logarithmic: bool = True,
    description: str = "",
) -> str:
    """An AUC over something that grows; nothing where there are not two points to join."""
    drawn = {name: points for name, points in series.items() if len(points) > 1}
    xs = [x for points in drawn.values() for x, _ in points]
    logarithmic = logarithmic and all(x > 0 for x in xs)
    if not drawn or min(xs) == max(xs):
        return ""
    scale = math.log if logarithmic else float
    low = min(0.45, *(y for points in drawn.values() for _, y in points))
    first, last = scale(min(xs)), scale(max(xs))
    longest = min(max(len(name) for name in drawn), 28) if len(drawn) > 1 else 0
    left, right = 40.0, WIDTH - 16.0 - longest * LETTER

    def at(x: float, y: float) -> tuple[float, float]:
        share = (scale(x) - first) / (last - first)
        return left + share * (right - left), HEIGHT - 46 - (y - low) / (1 - low) * (HEIGHT - 60)

    parts = []
    for tenth in range(math.ceil(low * 10), 11):
        _, y = at(xs[0], tenth / 10)
        parts.append(line((left, y), (right, y), "chance" if tenth == 5 else "grid"))
        parts.append(label((left - 8, y + 4), f"{tenth / 10:.1f}", "name"))
    taken: list[float] = []
    for x in sorted(set(xs)):
        place = at(x, low)[0]
        if all(abs(place - other) > 34 for other in taken):
            parts.append(label((place, HEIGHT - 26), f"{x:g}", "tick"))
            taken.append(place)
    parts.append(label(((left + right) / 2, HEIGHT - 6), across, "tick"))
    ordered = sorted(drawn.items(), key=lambda one: -one[1][-1][1])
    for number, (_, points) in enumerate(ordered):
        places = [at(*point) for point in points]
        parts.append(path(places, f"curve of{number % 4}"))
        parts += [circle(place, 3.5, f"point of{number % 4}") for place in places]
    below = float(HEIGHT)
    if longest:
        heights = _apart([at(*points[-1])[1] for _, points in ordered])
        parts += [
            label((right + 8, y + 4), _short(name, 28), "value") for (name, _), y in zip(ordered, heights, strict=True)
        ]
        below = max(HEIGHT, heights[-1] + 14)
    return svg(title, below, parts, description)


def _apart(heights: Sequence[float], gap: float = 13.0) -> list[float]:
    """From the top down, moved so that words at them do not lie on each other."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + gap) if found else height)
    return found


def _short(name: str, letters: int = 34) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"


def data(caption: str, table: str) -> str:
    """A drawing's figures, as a table that opens below it."""
    return f'<details class="data"><summary>{text(caption)}</summary>{table}</details>'
