"""Figures as people read them: tables of text, which the console and reports draw each in their own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What a line is about, its figures, and a doubt about them if there is one."""

    about: str
    cells: tuple[str, ...]
    doubt: str = ""


@dataclass(frozen=True)
class Table:
    """Lines under heads, and sentences below them."""

    title: str
    heads: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()


def figure(value: float | None) -> str:
    """A figure for people; what is not known is said so."""
    return "unknown" if value is None else f"{value:.3f}"


def span(ends: Sequence[float] | None) -> str:
    """An interval for people."""
    return "unknown" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def share(value: float | None) -> str:
    """A share for people."""
    return "unknown" if value is None else f"{value:.0%}"
