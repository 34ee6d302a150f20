"""Figures and names as cells of a report's tables hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.page import text
from fedcxr.report._drawing import Policy
from fedcxr.report.words import QUESTIONS
from fedcxr.table import figure, span

UNKNOWN = "unknown"


def figure_cell(told: Mapping[str, Any] | None) -> str:
    """A figure above its interval."""
    if told is None or told["value"] is None:
        return UNKNOWN
    return f"{figure(told['value'])}<small>{span(told['ci95']) if told['ci95'] else 'interval unknown'}</small>"


def ends(told: Mapping[str, Any]) -> tuple[str, str]:
    """The same for a table of plain texts."""
    return figure(told["value"]), span(told["ci95"])


def task_in_words(task: object, name: object = None) -> str:
    """A task at the head of a column, with what its figure is called."""
    told = str(task).replace("_", " ")
    return told if name is None else f"{told} ({name})"


def usefulness_head(policies: Sequence[Policy]) -> str:
    """Of the figure by which policies stand."""
    return task_in_words(policies[0]["utility"]["task"], policies[0]["utility"]["name"])


def risk_cell(policy: Policy) -> str:
    """The worst attack, with all that is doubtful about it, and what holders of keys reach."""
    risk = policy["risk"]
    if risk["value"] is None:
        return UNKNOWN
    least = "≥ " if risk["lower_bound"] else ""
    doubt = "" if risk["conclusive"] else '<span class="doubt">inconclusive</span> '
    holder = policy["holder"]
    keys = "" if holder is None else f"<small>with keys: {figure(holder['auc']['value'])}</small>"
    return f"{doubt}{least}{figure_cell(risk)}<small>{text(head_of(risk['question']).lower())}</small>{keys}"


def guarantee_cell(formal: Mapping[str, Any] | None) -> str:
    """With its delta and its unit."""
    if formal is None:
        return '<span class="soft">none</span>'
    unit = text(unit_in_words(formal["unit"]))
    return f"epsilon {formal['epsilon']:.3g}<small>delta {formal['delta']:g}, per {unit}</small>"


def unit_in_words(unit: object) -> str:
    """As a sentence has it."""
    return str(unit).replace("_", " ")


def head_of(question: str) -> str:
    """What a question is called on the page."""
    told = QUESTIONS.get(question)
    return told.head if told else str(question)


def some_of(names: Sequence[str]) -> str:
    """The first names of many."""
    return "; ".join(names[:8]) + (f"; and {len(names) - 8} more" if len(names) > 8 else "")
