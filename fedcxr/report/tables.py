"""The tables of a report as CSV for spreadsheets and as LaTeX (booktabs) for papers."""

from __future__ import annotations

import csv as comma_separated
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedcxr.errors import shown

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}

Cell = str | float | bool | None


@dataclass(frozen=True)
class Flat:
    """Rows under heads."""

    name: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def of(document: Mapping[str, Any]) -> list[Flat]:
    """Policies, what tasks measured of each, findings, attackers, and differences between policies."""
    policies = document["policies"]
    return [_policies(policies), _tasks(policies), _findings(policies), _attackers(policies), _differences(document)]


def csv(table: Flat) -> str:
    """For a spreadsheet, which must not take a name for a formula."""
    file = io.StringIO(newline="")
    writer = comma_separated.writer(file)
    writer.writerow(table.heads)
    writer.writerows([[_harmless(cell) for cell in row] for row in table.rows])
    return file.getvalue()


def latex(table: Flat) -> str:
    """For a paper that uses booktabs."""
    heads = " & ".join(escaped(head) for head in table.heads)
    lines = [" & ".join(_typeset(cell) for cell in row) + r" \\" for row in table.rows]
    columns = "l" * 1 + "r" * (len(table.heads) - 1)
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{heads} \\", r"\midrule", *lines, r"\bottomrule"]
    return "\n".join([*body, r"\end{tabular}", ""])


def escaped(words: str) -> str:
    """Text that LaTeX prints and does not obey."""
    return "".join(SPECIAL.get(letter, letter) for letter in shown(" ".join(words.split())))


def _policies(policies: Sequence[Mapping[str, Any]]) -> Flat:
    useful = f"{policies[0]['utility']['name']} of {policies[0]['utility']['task']}"
    heads = (
        *("policy", "runs", "meets", useful, "low", "high", "question", "attacker", "worst AUC"),
        *("worst low", "worst high", "lower bound", "conclusive", "epsilon", "delta", "unit", "seconds", "MB sent"),
    )
    rows = []
    for one in policies:
        gain, risk, formal, cost = one["utility"], one["risk"], one["formal"] or {}, one["cost"]
        sent = cost["bytes_up"]
        rows.append(
            (
                *(one["name"], one["runs"], one["meets"], gain["value"], *(gain["ci95"] or (None, None))),
                *(risk["question"], risk["attacker"], risk["value"], *(risk["ci95"] or (None, None))),
                *(risk["lower_bound"], risk["conclusive"], formal.get("epsilon"), formal.get("delta")),
                *(formal.get("unit"), cost["seconds"], None if sent is None else sent / 1e6),
            )
        )
    return Flat("policies", heads, tuple(rows))


def _tasks(policies: Sequence[Mapping[str, Any]]) -> Flat:
    """The main figure of every task that was run; a task without one has a line all the same."""
    heads = ("policy", "task", "figure", "value", "low", "high")
    rows = [
        (one["name"], task, told["figure"], told["value"], *(told["ci95"] or (None, None)))
        for one in policies
        for task, told in one["tasks"].items()
    ]
    return Flat("tasks", heads, tuple(rows))


def _findings(policies: Sequence[Mapping[str, Any]]) -> Flat:
    heads = ("policy", "classifier", "finding", "AUC", "low", "high")
    rows = [
        (one["name"], arm, finding, told["value"], *(told["ci95"] or (None, None)))
        for one in policies
        for arm, found in one["findings"].items()
        for finding, told in found.items()
    ]
    return Flat("findings", heads, tuple(rows))


def _attackers(policies: Sequence[Mapping[str, Any]]) -> Flat:
    heads = (
        *("policy", "question", "adversary", "attacker", "AUC", "low", "high", "rank 1", "found at 1 % FPR"),
        *("must succeed", "must be chance", "conclusive", "converged", "inconclusive because"),
    )
    rows = [
        (
            *(one["name"], told["question"], told["adversary"], told["attacker"], told["auc"]["value"]),
            *(*(told["auc"]["ci95"] or (None, None)), told["rank1"], told["at_1_percent"]),
            *(told["control_must_succeed"], told["control_must_be_chance"], told["conclusive"], told["converged"]),
            "; ".join(told["inconclusive_because"]),
        )
        for one in policies
        for told in one["attackers"]
    ]
    return Flat("attackers", heads, tuple(rows))


def _differences(document: Mapping[str, Any]) -> Flat:
    """Of all pairs: those on the page, and the others, each with the number of comparisons it is corrected among."""
    heads = (
        *("figure", "policy", "less", "difference", "low", "high", "p", "p corrected", "told", "patients needed"),
        *("on the page", "corrected among"),
    )
    rows = [
        (
            *(one["figure"], one["left"], one["right"], one["difference"]["value"]),
            *(one["difference"]["ci95"] or (None, None)),
            *(one["p"], one["p_adjusted"], one["told"], one["patients_needed"]),
            *(shown, len(family)),
        )
        for shown, family in ((True, document["differences"]), (False, document["other_differences"] or ()))
        for one in family
    ]
    return Flat("differences", heads, tuple(rows))


def _harmless(cell: Cell) -> Cell:
    if not isinstance(cell, str):
        return cell
    told = shown(cell)
    return f"'{told}" if cell.startswith(FORMULA) else told


def _typeset(cell: Cell) -> str:
    if cell is None:
        return "--"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return escaped(cell) if isinstance(cell, str) else f"{cell:.3f}" if isinstance(cell, float) else str(cell)
