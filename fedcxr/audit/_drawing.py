"""Figures of the page as SVG: attackers on a line from chance to certainty, and what longer learning brought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, LABEL, ROW = 640, 110, 24  # pixels
LEFT, RIGHT = LABEL + 10, WIDTH - 60  # of the line
LOWEST = 0.4  # AUC at the left end
HEIGHT = 170  # of the curve


def attackers(entries: Sequence[Mapping[str, Any]], worst: Mapping[str, Any], smallest: float | None) -> str:
    """Each attacker's AUC with its interval; the band is where a success would have gone unnoticed."""
    bottom = ROW * len(entries) + 6
    parts = []
    if smallest is not None:
        x, end = _x(0.5), _x(smallest)
        parts.append(f'<rect x="{x:.1f}" y="0" width="{end - x:.1f}" height="{bottom}" class="band"/>')
    for tenth in range(4, 11):
        x = _x(tenth / 10)
        kind = "chance" if tenth == 5 else "grid"
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}" class="{kind}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" class="tick">{tenth / 10:.1f}</text>')
    for place, entry in enumerate(entries):
        y, value, ci95 = ROW * place + ROW / 2 + 3, entry["auc"]["value"], entry["auc"]["ci95"]
        kind = "worst" if entry["attacker"] == worst["attacker"] and worst["found"] else "other"
        parts.append(f'<text x="{LABEL}" y="{y + 4:.1f}" class="name">{entry["attacker"]}</text>')
        if value is None:
            continue
        if ci95 is not None:
            low, high = (_x(bound) for bound in ci95)
            parts.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" class="span {kind}"/>')
        parts.append(f'<circle cx="{_x(value):.1f}" cy="{y:.1f}" r="4.5" class="{kind}"/>')
        parts.append(f'<text x="{WIDTH - 45}" y="{y + 4:.1f}" class="value">{value:.2f}</text>')
    return _svg("AUC of every attacker, with 95 % intervals", bottom + 22, parts)


def curve(points: Sequence[Mapping[str, Any]]) -> str:
    """The AUC after so many steps, each twice those before."""
    known = [(point["budget"], point["auc"]) for point in points if point["auc"] is not None]
    if len(known) < 2:
        return ""
    low = min(0.45, *(auc for _, auc in known))
    first, last = (math.log(known[place][0]) for place in (0, -1))

    def at(steps: int, auc: float) -> tuple[float, float]:
        across = (math.log(steps) - first) / (last - first)
        return LEFT + across * (RIGHT - LEFT), HEIGHT - 30 - (auc - low) / (1 - low) * (HEIGHT - 45)

    parts = []
    for tenth in range(5, 11):
        _, y = at(known[0][0], tenth / 10)
        kind = "chance" if tenth == 5 else "grid"
        parts.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="{kind}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" class="name">{tenth / 10:.1f}</text>')
    places = [at(steps, auc) for steps, auc in known]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{line}" class="curve"/>')
    for (x, y), (steps, _) in zip(places, known, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="other"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 10}" class="tick">{steps}</text>')
    return _svg("AUC by steps of learning", HEIGHT, parts)


def _x(auc: float) -> float:
    return LEFT + (max(auc, LOWEST) - LOWEST) / (1 - LOWEST) * (RIGHT - LEFT)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{title}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
