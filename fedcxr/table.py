"""Figures as people read them: tables of text, which the console and reports draw each in their own way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """What a line is about, its figures, and a doubt about them if there is one."""

    about: str
    cells: tuple[str, ...]
    doubt: str = ""


@dataclass(frozen=True)
class Table:
    """Lines under heads, sentences below them, and what all that means: a headline and what it rests on."""

    title: str
    heads: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()


def figure(value: float | None) -> str:
    """A figure for people; what is not known is said so."""
    return "unknown" if value is None else f"{value:.3f}"


def span(ends: Sequence[float] | None) -> str:
    """An interval for people."""
    return "unknown" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def share(value: float | None) -> str:
    """A share for people."""
    return "unknown" if value is None else f"{value:.0%}"


def own_figures(title: str, figures: Mapping[str, Any]) -> Table:
    """Of figures that nobody wrote a table for: each number under its name, with its interval where it has one."""
    return Table(title, ("figure", "95 % interval"), tuple(_numbers("", figures)))


def own_entries(title: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    """Of attackers' entries that nobody wrote a table for: each AUC with its interval, and what is doubtful."""
    rows, doubts = [], []
    for entry in entries:
        about, told = f"{entry['adversary']}, {entry['attacker']}", entry.get("auc") or {"value": None, "ci95": None}
        doubtful = entry.get("conclusive") is False
        rows.append(Row(about, (figure(told["value"]), span(told["ci95"])), "inconclusive" if doubtful else ""))
        doubts += [f"{about}: {entry['inconclusive_because']}"] if doubtful else []
    return Table(title, ("AUC", "95 % interval"), tuple(rows), tuple(doubts))


def _numbers(name: str, told: Any) -> Iterator[Row]:
    if isinstance(told, Mapping) and "value" in told:
        yield Row(name, (figure(told["value"]), span(told["ci95"]) if told.get("ci95") else ""))
    elif isinstance(told, Mapping):
        for part, below in told.items():
            yield from _numbers(f"{name} {part}".strip(), below)
    elif isinstance(told, int | float):
        yield Row(name, (str(told) if isinstance(told, int) else figure(told),))
