"""Which runs are on file below a folder, and how far each is; read from files alone, whoever made them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedcxr.errors import FedcxrError
from fedcxr.runs import comparison, measured, stages
from fedcxr.runs.differences import MAIN
from fedcxr.runs.identity import is_marked
from fedcxr.runs.stored import as_promised, result_of, short_name
from fedcxr.storage.disk import explained, read_json
from fedcxr.table import Row, Table, figure

NOTES = (
    "trained: mean AUC of the findings; worst: AUC of whoever links films to known people",
    "member: AUC of whoever tells who was learnt from; epsilon: what is guaranteed, per patient unless told",
)


@dataclass(frozen=True)
class Listed:
    """One run's folder, and what there is to know of it at a glance."""

    folder: str
    name: str  # of the scenario or the study
    method: str
    seed: int | None
    sites: int | None  # that answered
    state: str  # done | unfinished | damaged
    changed: float  # seconds since 1970
    figures: Mapping[str, float | None] = field(default_factory=dict)  # the main ones, where it is done
    tasks: Mapping[str, float | None] = field(default_factory=dict)  # likewise, of tasks of ours other than findings
    formal: Mapping[str, Any] | None = None
    because: str | None = None  # it cannot be read

    def told(self) -> dict[str, Any]:
        return asdict(self)


def below(out: Path) -> list[Listed]:
    """The runs in a folder's folders, the last changed first; one that cannot be read is among them."""
    with explained(out):
        folders = [folder for folder in sorted(out.glob("*/*")) if folder.is_dir() and is_marked(folder)]
        return sorted(map(_listed, folders), key=lambda one: -one.changed)


def table(found: Sequence[Listed]) -> Table:
    """For people."""
    tasks, names = _columns(found), {one.name for one in found}
    cells = [_cells(one, tasks) for one in found]
    title = f"{next(iter(names))}: runs" if len(names) == 1 else "runs"
    heads = [head for head in (cells[0] if cells else ()) if head == "changed" or any(one[head] for one in cells)]
    rows = tuple(
        Row(_called(one, len(names) > 1), tuple(shown[head] for head in heads), _state(one))
        for one, shown in zip(found, cells, strict=True)
    )
    unreadable = tuple(f"{one.folder}: {one.because}" for one in found if one.because is not None)
    known = (*NOTES, *measured.in_words(tasks)) if any(one.figures for one in found) else ()
    return Table(title, tuple(heads), rows, (*known, *unreadable) if rows else ("no run is on file here",))


def _called(one: Listed, by_name: bool) -> str:
    return f"{one.name}/" * by_name + short_name(Path(one.folder))


def _columns(found: Sequence[Listed]) -> tuple[str, ...]:
    """Tasks by which a run has to be known, since it measured no findings."""
    lacking = (one for one in found if all(one.figures.get(column) is None for column in comparison.HERE.values()))
    return tuple(dict.fromkeys(task for one in lacking for task in one.tasks))


def _cells(one: Listed, tasks: Sequence[str]) -> dict[str, str]:
    values = {**{name: one.figures.get(name) for name in MAIN}, **{task: one.tasks.get(task) for task in tasks}}
    shown = {name: "" if value is None else figure(value) for name, value in values.items()}
    return {"changed": time.strftime("%Y-%m-%d", time.localtime(one.changed)), **shown, "epsilon": _epsilon(one.formal)}


def _epsilon(formal: Mapping[str, Any] | None) -> str:
    """Never without its unit, but for the usual one."""
    if formal is None:
        return ""
    return f"{formal['epsilon']:.3g}" + ("" if formal["unit"] == "patient" else f" per {formal['unit']}")


def _state(one: Listed) -> str:
    return "" if one.state == "done" else one.state


def _listed(folder: Path) -> Listed:
    method, _, seed = folder.name.rpartition("-")
    name, number = method.rpartition("-")[0] or method, int(seed) if seed.isdigit() else None
    result = folder / "result.json"
    changed = (result if result.is_file() else folder).stat().st_mtime
    about: dict[str, Any] = {"folder": str(folder), "name": folder.parent.name, "method": name, "seed": number}
    try:
        with as_promised(folder), explained(folder):
            told = result_of(folder) if result.is_file() else None
            sites = told["sites"] if told is not None else _collected(folder)
            answered = None if sites is None else sum(site["status"] == "ok" for site in sites)
            if told is None:
                return Listed(**about, sites=answered, state="unfinished", changed=changed)
            main = {name: (comparison.FIGURES[name](told) or {"value": None})["value"] for name in MAIN}
            found = {task: one["value"] for task, one in measured.main_figures(told).items()}
            tasks = {task: value for task, value in found.items() if task not in comparison.HERE}
            done: dict[str, Any] = {
                "state": "done",
                "figures": main,
                "tasks": tasks,
                "formal": told["privacy"]["formal"],
            }
            return Listed(**about, sites=answered, changed=changed, **done)
    except FedcxrError as error:
        return Listed(**about, sites=None, state="damaged", changed=changed, because=str(error))


def _collected(folder: Path) -> Any:
    file = folder / "stages" / f"{stages.COLLECT}.json"
    return read_json(file) if file.is_file() else None
