"""Which runs are on file below a folder, and how far each is; read from files alone, whoever made them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcxr.errors import FedcxrError
from fedcxr.runs import stages
from fedcxr.runs.identity import is_marked
from fedcxr.storage.disk import read_json
from fedcxr.table import Row, Table


@dataclass(frozen=True)
class Listed:
    """One run's folder, and what there is to know of it at a glance."""

    folder: str
    method: str
    seed: int | None
    sites: int | None  # that answered
    state: str  # done | unfinished | damaged
    changed: float  # seconds since 1970

    def told(self) -> dict[str, Any]:
        return asdict(self)


def below(out: Path) -> list[Listed]:
    """The runs in a folder's folders, the last changed first."""
    found = [_listed(folder) for folder in sorted(out.glob("*/*")) if folder.is_dir() and is_marked(folder)]
    return sorted(found, key=lambda one: -one.changed)


def table(found: Sequence[Listed]) -> Table:
    """For people."""
    rows = tuple(Row(one.folder, (one.state, _or_unknown(one.sites), _day(one.changed))) for one in found)
    return Table("runs", ("state", "sites", "changed"), rows, () if rows else ("no run is on file here",))


def _listed(folder: Path) -> Listed:
    method, _, seed = folder.name.rpartition("-")
    name, number = method.rpartition("-")[0] or method, int(seed) if seed.isdigit() else None
    result = folder / "result.json"
    changed = (result if result.is_file() else folder).stat().st_mtime
    try:
        told = read_json(result) if result.is_file() else None
        sites = told["sites"] if told is not None else _collected(folder)
        answered = None if sites is None else sum(site["status"] == "ok" for site in sites)
    except (FedcxrError, KeyError, TypeError):
        return Listed(str(folder), name, number, None, "damaged", changed)
    return Listed(str(folder), name, number, answered, "unfinished" if told is None else "done", changed)


def _collected(folder: Path) -> Any:
    file = folder / "stages" / f"{stages.COLLECT}.json"
    return read_json(file) if file.is_file() else None


def _or_unknown(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _day(changed: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(changed))
