"""What each task measured of a policy: its main figure over seeds and its own table; and by which task policies stand.

Nobody's code but ours is imported to read what is stored: of a task from outside, `study.json` says which figure is
its main one, and its figures are listed as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, cast

from fedcxr import plugins
from fedcxr.errors import FedcxrError, one_line
from fedcxr.report import _shape
from fedcxr.report._pooled import UNKNOWN, pooled
from fedcxr.runs.measured import figure_at, known_main
from fedcxr.table import own_figures
from fedcxr.tasks import Task

Told = dict[str, Any]
Results = Sequence[Mapping[str, Any]]
FIRST = "findings"  # the task by which policies stand where any of them has its figure
NO_MAIN: Mapping[str, None] = {"path": None, "name": None, "says": None}
SHAPES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)  # of another one


def about(task: str, study: Mapping[str, Any] | None) -> Told:
    """Which figure of a task is its main one, what it is called and what it is; without one, nothing of it."""
    ours = known_main(task)
    written = ((study or {}).get("tasks") or {}).get(task) or NO_MAIN
    return asdict(ours) if ours is not None else {part: written[part] for part in NO_MAIN}


def measured(results: Results, study: Mapping[str, Any] | None) -> tuple[dict[str, Told], list[str]]:
    """By task what is known of it, and in a line each what cannot be read."""
    found: dict[str, Told] = {}
    lacking = []
    for task in dict.fromkeys(task for result in results for task in result["utility"]):
        path = about(task, study)["path"]
        told, tables = [], []
        for result in results:
            seed = result["run"]["seed"]
            try:
                one = _shape.figure(figure_at(result, task, path)) if path else UNKNOWN
                table = _table(task, result)
            except SHAPES as error:
                why = f"its figures are of another shape ({type(error).__name__}: {one_line(error, 80)})"
                lacking.append(f"{task} of {result['run']['id']}, seed {seed}, cannot be read: {why}")
                continue
            told.append({"seed": seed, **one})
            tables += [{"seed": seed, **table}] if table else []
        figure = f"utility.{task}.{path}" if path else None
        # One table of each policy: beside it stand the main figures of its other seeds.
        found[task] = {"figure": figure, **pooled(told), "seeds": told, "table": next(iter(tables), None)}
    return found, lacking


def judge(policies: Sequence[Told], tasks: Mapping[str, Told]) -> None:
    """By which task all policies stand: findings where any of them has some, or else the first with a main figure."""
    if any(one["utility"]["value"] is not None for one in policies):
        return
    known = (t for t in tasks if any((one["tasks"].get(t) or UNKNOWN)["value"] is not None for one in policies))
    task = next(known, None)
    if task is None:
        return
    for one in policies:
        told = one["tasks"].get(task) or UNKNOWN
        figure = f"utility.{task}.{tasks[task]['path']}"
        one["utility"] = {"task": task, "name": tasks[task]["name"], "figure": figure, "arm": None}
        one["utility"] |= {part: told[part] for part in UNKNOWN}


def _table(task: str, result: Mapping[str, Any]) -> Told | None:
    """As whoever ran it was shown it; None: it does not apply."""
    figures = result["utility"][task]
    if figures is None:
        return None
    parameters = (result["scenario"].get("tasks") or {}).get(task) or {}
    ours, table = _built(task, json.dumps(parameters, sort_keys=True)), None
    try:
        table = ours and ours.table(figures)
    except SHAPES:  # other code measured more, or less
        table = None
    table = table or own_figures("What it measured", figures)
    rows = [{"about": row.about, "cells": list(row.cells), "doubt": row.doubt} for row in table.rows]
    told = {part: list(getattr(table, part)) for part in ("heads", "notes", "verdict")}
    return {"title": table.title, "rows": rows, **told}


@cache
def _built(task: str, parameters: str) -> Task | None:
    """One of ours with its parameters; None: it is from outside, or was of other parameters."""
    if task not in plugins.names("task"):
        return None
    try:
        return cast("Task", plugins.build("task", {**json.loads(parameters), "name": task}))
    except FedcxrError:
        return None
