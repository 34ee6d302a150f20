"""Drawings in a page: each with a title and a description, for those who hear it instead of seeing it."""

from __future__ import annotations

from collections.abc import Sequence

from fedcxr.page import anchor, text

WIDTH = 640  # units across, of every drawing


def svg(title: str, height: float, parts: Sequence[str], description: str = "") -> str:
    """A drawing of these parts."""
    place = anchor(title, description, *parts)
    told = f'<desc id="{place}-d">{text(description)}</desc>' if description else ""
    by = f' aria-describedby="{place}-d"' if description else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="{place}-t"{by} '
        f'xmlns="http://www.w3.org/2000/svg"><title id="{place}-t">{text(title)}</title>{told}{"".join(parts)}</svg>'
    )


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """From one point to another."""
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def circle(at: tuple[float, float], radius: float, kind: str) -> str:
    """A mark."""
    return f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" class="{kind}"/>'


def label(at: tuple[float, float], words: object, kind: str) -> str:
    """Words at a point."""
    return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" class="{kind}">{text(words)}</text>'


def path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Through these points."""
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="{kind}"/>'
