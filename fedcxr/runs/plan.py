"""What a study would do: which runs are on file, and what the others will take as far as earlier runs tell.

Nothing is guessed: a run takes as long, and leaves as much, as runs on file of the very same scenario did under other
seeds, or else as runs of the same method at the same preset did, on such films of as many sites, under the same tasks
and adversaries. Where there is no such run it is unknown.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcxr.errors import FedcxrError
from fedcxr.runs import Run
from fedcxr.runs.identity import is_marked
from fedcxr.runs.study import Study
from fedcxr.scenario import Scenario
from fedcxr.storage.disk import read_json

MIB = 2**20
UNREADABLE = (
    FedcxrError,
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)  # what a result of another shape ends in


@dataclass(frozen=True)
class Planned:
    """One run of a study."""

    described: str
    folder: Path
    on_file: bool
    seconds: float | None = None  # None: unknown, or on file
    disk: float | None = None  # bytes
    by: str | None = None  # what the two are known from

    def told(self) -> dict[str, Any]:
        return {
            "run": self.described,
            "folder": str(self.folder),
            "on_file": self.on_file,
            "seconds": self.seconds,
            "bytes": self.disk,
            "by": self.by,
        }


@dataclass(frozen=True)
class _Earlier:
    """What a finished run took."""

    scenario: str  # its id
    alike: tuple[object, ...]
    seconds: float
    disk: int
    memory: float  # bytes at most; 0: unknown

    @classmethod
    def of(cls, folder: Path) -> _Earlier:
        result = read_json(folder / "result.json")
        run, scenario = result["run"], result["scenario"]
        alike = _alike(run["method"], run["preset"], scenario)
        memory = float(result["cost"].get("peak_rss_mb") or 0.0) * MIB
        return cls(run["id"], alike, float(run["wall_s"]), _size(folder), memory)


class Memory:
    """How much memory runs take, as far as those on file tell; a study's own tell as they end."""

    def __init__(self, out: Path) -> None:
        self._known = list(_earlier(out))

    def expected(self, scenario: Scenario) -> float:
        """Bytes, the most of any run of the kind; 0 where there is none."""
        same, _ = _like(scenario, self._known)
        return max((one.memory for one in same), default=0.0)

    def learn(self, folder: Path) -> None:
        """Of a run that has ended, if it has a result."""
        with contextlib.suppress(*UNREADABLE):
            self._known.append(_Earlier.of(folder))


def planned(study: Study, out: Path) -> list[Planned]:
    """Every run of a study, in the order in which they would be done."""
    earlier = list(_earlier(out))
    plan = []
    for trial in study.runs():
        run = Run.place(out, trial.scenario)
        if run.own_result is not None:
            plan.append(Planned(trial.described, run.folder, on_file=True))
        else:
            plan.append(Planned(trial.described, run.folder, False, *_expected(trial.scenario, earlier)))
    return plan


def summed(plan: Sequence[Planned], jobs: int) -> dict[str, Any]:
    """What there is to do in all: seconds and bytes of the runs of which they are known, and how many are unknown."""
    waiting = [one for one in plan if not one.on_file]
    seconds = [one.seconds for one in waiting if one.seconds is not None]
    disk = [one.disk for one in waiting if one.disk is not None]
    return {
        "runs": len(plan),
        "on_file": len(plan) - len(waiting),
        "unknown": len(waiting) - len(seconds),
        "seconds": sum(seconds) / min(jobs, max(len(waiting), 1)) if seconds else None,
        "bytes": sum(disk) if disk else None,
    }


def _earlier(out: Path) -> Iterator[_Earlier]:
    """The finished runs below a folder, of whatever study and version; what cannot be read is passed over."""
    for folder in sorted(out.glob("*/*")):
        if is_marked(folder) and (folder / "result.json").is_file():
            try:
                yield _Earlier.of(folder)
            except UNREADABLE:
                continue


def _expected(scenario: Scenario, earlier: Sequence[_Earlier]) -> tuple[float | None, float | None, str | None]:
    same, by = _like(scenario, earlier)
    if not same:
        return None, None, None
    seconds, disk = statistics.fmean(one.seconds for one in same), statistics.fmean(one.disk for one in same)
    return seconds, disk, f"{len(same)} {'run' if len(same) == 1 else 'runs'} {by}"


def _like(scenario: Scenario, earlier: Sequence[_Earlier]) -> tuple[list[_Earlier], str]:
    """Runs of the kind, and in words which that is."""
    same = [one for one in earlier if one.scenario == scenario.id]
    if same:
        return same, "of this scenario"
    method = scenario.method.plugin_name()
    own = _alike(method, scenario.preset, scenario.document())
    return [one for one in earlier if one.alike == own], f"of {method} at {scenario.preset} on such films"


def _alike(method: str, preset: str, scenario: Mapping[str, Any]) -> tuple[object, ...]:
    """What runs have in common that take about as long."""
    cohort = scenario.get("cohort") or {}
    films = tuple(cohort.get(part) for part in ("source", "patients", "size", "root"))
    asked = tuple(tuple(sorted(scenario[part])) for part in ("tasks", "adversaries"))
    return method, preset, films, str(scenario["sites"]), asked


def _size(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
