"""What tasks measured, read back from results: whichever there are, each by the figure that it calls its main one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, cast

from fedcxr import plugins
from fedcxr.tasks import Main, Task


@cache
def known_main(task: str) -> Main | None:
    """The main figure of a task of ours; None of one from outside, whose code is never imported to read a result."""
    return cast("type[Task]", plugins.load("task", task)).main if task in plugins.names("task") else None


def main_figures(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """By task of ours, in the order of the result, the main figure of each that was measured and has one."""
    mains = {task: main for task in result["utility"] if (main := known_main(task)) is not None}
    found = {task: figure_at(result, task, main.path) for task, main in mains.items()}
    return {task: one for task, one in found.items() if one is not None and one["value"] is not None}


def in_words(tasks: Iterable[str]) -> tuple[str, ...]:
    """What the main figures of tasks of ours are, a note each."""
    return tuple(f"{task}: {main.name}, {main.says}" for task in tasks if (main := known_main(task)) is not None)


def figure_at(result: Mapping[str, Any], task: str, path: str) -> Mapping[str, Any] | None:
    """A figure of a task in a result; None: it was not measured."""
    found: Any = result["utility"].get(task)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None
