"""What tasks measured, read back from results: whichever there are, each by the figure that it calls its main one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from fedcxr import plugins
from fedcxr.tasks import Main, Task


@cache
def known_main(task: str) -> Main | None:
    """The main figure of a task of ours; None of one from outside, whose code is never imported to read a result."""
    return cast("type[Task]", plugins.load("task", task)).main if task in plugins.names("task") else None


def figure_at(result: Mapping[str, Any], task: str, path: str) -> Mapping[str, Any] | None:
    """A figure of a task in a result; None: it was not measured."""
    found: Any = result["utility"].get(task)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None
