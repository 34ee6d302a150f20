"""The privacy-utility frontier as a drawing: policies by their worst attack and by how useful what they share is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.page.svg import WIDTH, circle, label, line, svg
from fedcxr.report._cells import usefulness_head

HEIGHT, LEFT, BOTTOM, TOP = 400.0, 52.0, 44.0, 14.0
RIGHT = WIDTH - 18.0
NEAR = 13.0  # units within which two numbers would lie on each other
BOUND = r"({figure}|privacy\.worst_case\.auc) [<>]=? ([\d.e+-]+)"  # a constraint on what is drawn
MOST_LINES = 12  # of the grid, from the least useful to the most


def scatter(question: str, policies: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    """Of those whose two figures are known, under the numbers that tables give them; nothing if there is none."""
    known = [(n, p) for n, p in policies if None not in (p["utility"]["value"], p["risk"]["value"])]
    if not known:
        return ""
    ys = [y for _, p in known for y in (p["utility"]["value"], *(p["utility"]["ci95"] or ()))]
    xs = [x for _, p in known for x in (p["risk"]["value"], *(p["risk"]["ci95"] or ()))]
    step = _step(max(ys) - min(ys))
    low, high = math.floor(min(ys) / step) * step, math.ceil(max(ys) / step) * step
    first, last = min(0.47, math.floor(min(xs) * 10) / 10), 1.0

    def at(risk: float, useful: float) -> tuple[float, float]:
        right, above = (risk - first) / (last - first), (useful - low) / max(high - low, step)
        return LEFT + right * (RIGHT - LEFT), HEIGHT - BOTTOM - above * (HEIGHT - BOTTOM - TOP)

    head = usefulness_head([policy for _, policy in known])
    across, up = (first, last), (low, high)
    parts = [*_grid(at, across, up, step, head), *_bounds(at, known, question, across, up)]
    taken: dict[tuple[float, float], list[int]] = {}
    for number, policy in known:
        useful, risk = policy["utility"], policy["risk"]
        x, y = at(risk["value"], useful["value"])
        if useful["ci95"]:
            parts.append(line(at(risk["value"], useful["ci95"][0]), at(risk["value"], useful["ci95"][1]), "reach"))
        if risk["ci95"]:
            parts.append(line(at(risk["ci95"][0], useful["value"]), at(risk["ci95"][1], useful["value"]), "reach"))
        if risk["lower_bound"]:
            parts.append(f'<path d="M{x + 8:.1f} {y:.1f}h12m-4 -3.5l4 3.5l-4 3.5" class="arrow"/>')
        kind = "unsure" if not risk["conclusive"] else "lesser" if policy["dominated_by"] else "kept"
        parts.append(circle((x, y), 5.5, kind))
        spot = next((s for s in taken if abs(s[0] - x) < NEAR and abs(s[1] - y) < NEAR), (x, y))
        taken.setdefault(spot, []).append(number)
    for (x, y), numbers in taken.items():
        parts.append(label((x + (7 if x < RIGHT - 24 else -7), y - 8), ", ".join(map(str, numbers)), _side(x)))
    told = "; ".join(
        f"{number} {policy['name']}: {head} {policy['utility']['value']:.3f}, attack {policy['risk']['value']:.3f}"
        for number, policy in known[:40]
    )
    return svg(f"Usefulness against the worst attack ({question})", HEIGHT, parts, told)


def _side(x: float) -> str:
    return "value" if x < RIGHT - 24 else "name"


def _grid(at: Any, across: tuple[float, float], up: tuple[float, float], step: float, head: str) -> list[str]:
    parts = []
    for tenth in range(math.ceil(across[0] * 10), round(across[1] * 10) + 1):
        start, end = at(tenth / 10, up[0]), at(tenth / 10, up[1])
        parts.append(line(start, end, "chance" if tenth == 5 else "grid"))
        parts.append(label((start[0], start[1] + 16), f"{tenth / 10:.1f}", "tick"))
    step = step / 5 if up[1] - up[0] < 1.5 * step else step
    for place in range(round(up[0] / step), round(up[1] / step) + 1):
        start, end = at(across[0], place * step), at(across[1], place * step)
        parts += [line(start, end, "grid"), label((start[0] - 8, start[1] + 4), f"{place * step:.3g}", "name")]
    middle = (LEFT + RIGHT) / 2
    parts.append(label((middle, HEIGHT - 8), "worst attack (AUC): less is given away on the left", "title"))
    turned = f'transform="rotate(-90 12 {(HEIGHT - BOTTOM + TOP) / 2:.0f})"'
    words = label((12, (HEIGHT - BOTTOM + TOP) / 2), head, "title")
    return [*parts, words.replace("<text ", f"<text {turned} ", 1)]


def _bounds(
    at: Any,
    known: Sequence[tuple[int, Mapping[str, Any]]],
    question: str,
    across: tuple[float, float],
    up: tuple[float, float],
) -> list[str]:
    """Constraints on the two figures that are drawn."""
    found = dict.fromkeys(str(one["constraint"]) for _, p in known for one in p["constraints"])
    form = re.compile(BOUND.format(figure=re.escape(known[0][1]["utility"]["figure"])))
    parts = []
    for told in found:
        match = form.fullmatch(told)
        if match is None:
            continue
        bound = float(match[2])
        if match[1].startswith("utility") and up[0] <= bound <= up[1]:
            parts += [line(at(across[0], bound), at(across[1], bound), "bound")]
            parts.append(label((LEFT + 4, at(across[0], bound)[1] - 5), f"needed {told.split(' ', 1)[1]}", "wanted"))
        elif match[1].startswith("privacy") and question != "membership" and across[0] <= bound <= across[1]:
            parts += [line(at(bound, up[0]), at(bound, up[1]), "bound")]
            parts.append(label((at(bound, up[0])[0] + 4, TOP + 10), f"needed {told.split(' ', 1)[1]}", "wanted"))
    return parts


def _step(reach: float) -> float:
    """A tenth, unless that gives more lines than a drawing takes: figures of others' tasks may be of any size."""
    return 0.1 if reach <= MOST_LINES / 10 else float(10.0 ** math.ceil(math.log10(reach / MOST_LINES)))
