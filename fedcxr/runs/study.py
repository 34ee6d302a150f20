"""A study: scenarios that differ in a few keys, each under several seeds, run as commands of their own and compared."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import assign, read_file
from fedcxr.scenario.sections import Section
from fedcxr.storage.disk import explained, read_json, write_atomic, write_json
from fedcxr.storage.private import private_folder

MOST_RUNS = 10_000

# What is compared: the name of a column, and where its figure lies in a result.
FIGURES: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "raw": lambda result: _utility(result, "raw"),
    "frozen": lambda result: _utility(result, "frozen"),
    "trained": lambda result: _utility(result, "trained"),
    "naive": lambda result: _attack(result, "naive"),
    "retrained": lambda result: _attack(result, "retrained"),
    "worst": lambda result: (result["privacy"]["worst_case"] or {"auc": {"value": None}})["auc"]["value"],
}


class Study(Section):
    """Every case with every combination of the grid's values, under every seed."""

    name: str = pydantic.Field("study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    scenario: dict[str, Any] = pydantic.Field({}, description="what all have in common")
    cases: tuple[dict[str, Any], ...] = pydantic.Field(
        ({},), min_length=1, description="keys that differ: `a.b: value`"
    )
    grid: dict[str, tuple[Any, ...]] = pydantic.Field({}, description="keys with several values each: `a.b: [...]`")
    seeds: tuple[int, ...] = pydantic.Field((0,), min_length=1)

    @classmethod
    def read(cls, path: Path) -> Study:
        """The study in a file, each of its scenarios checked."""
        study = plugins.validate(cls, read_file(path), "study")
        if study.size > MOST_RUNS:
            raise ConfigError("this study is too large", given=f"{study.size} runs", allowed=str(MOST_RUNS))
        if study.size == 0:
            raise ConfigError("this study has no runs", given="a key of the grid without values")
        for key in {*study.grid, *(key for case in study.cases for key in case)}:
            if not all(key.split(".")):
                raise ConfigError("this is not a key of a scenario", given=key, allowed="a.b")
        for cell in study.cells():
            for seed in study.seeds:
                cell.scenario(seed)
        return study

    @property
    def size(self) -> int:
        """How many runs it takes."""
        combinations = 1
        for values in self.grid.values():
            combinations *= len(values)
        return len(self.cases) * combinations * len(self.seeds)

    def cells(self) -> Iterator[Cell]:
        """What is compared, one after the other."""
        for case in self.cases:
            for values in itertools.product(*self.grid.values()):
                differs = {**case, **dict(zip(self.grid, values, strict=True))}
                document: dict[str, Any] = {"name": self.name, **self.scenario}
                for path, value in differs.items():
                    document = assign(document, path.split("."), value)
                yield Cell(differs, document)


@dataclass(frozen=True)
class Cell:
    """One scenario of a study: by what it differs from the others, and its document."""

    differs: Mapping[str, Any]
    document: Mapping[str, Any]

    def scenario(self, seed: int) -> Scenario:
        return Scenario.parse({**self.document, "seed": seed})

    def described(self) -> str:
        """For the first column of a table."""
        if not self.differs:
            return str(self.document.get("name"))
        told = {path.removeprefix("method.").removeprefix("method"): value for path, value in self.differs.items()}
        return ", ".join(f"{path} {_short(value)}".strip() for path, value in told.items())


@dataclass(frozen=True)
class Options:
    """How to run a study, which never changes what comes out."""

    out: Path
    jobs: int = 1
    engine: str = "ray"
    resume: bool = False


@dataclass(frozen=True)
class Standing:
    """How one of a study's runs is doing."""

    number: int  # from 1
    of: int  # how many runs there are to do
    scenario: Scenario
    described: str  # by what it differs from the others
    folder: Path
    state: Literal["running", "done", "failed"] = "running"


def _unseen(standing: Standing) -> None:
    pass


def conduct(
    study: Study, options: Options, told: Callable[[str], None], seen: Callable[[Standing], None] = _unseen
) -> list[str]:
    """Run every scenario as a command of its own; returns a line for each that failed.

    `told` hears a line of what happened, and `seen` before it how the run in question is doing.
    """
    out = options.out
    folder = out / study.name
    with explained(folder):
        private_folder(private_folder(folder) / "scenarios")
    # Seed after seed: a study that is stopped early can be compared over all its scenarios.
    dealt = [
        (cell.scenario(seed), f"{cell.described()}, seed {seed}") for seed in study.seeds for cell in study.cells()
    ]
    scenarios, named = [scenario for scenario, _ in dealt], {one.run_name: described for one, described in dealt}
    waiting = [s for s in scenarios if not options.resume or Run.place(out, s).own_result is None]
    told(f"{study.name}: {len(scenarios) - len(waiting)} of {len(scenarios)} runs are on file")
    outdated = {s.run_name for s in waiting if options.resume and Run.place(out, s).of_other_code}
    if outdated:
        told(f"{study.name}: {len(outdated)} were made by another version of the code, and are made afresh")

    def run(numbered: tuple[int, Scenario]) -> str | None:
        number, scenario = numbered
        place = Run.place(out, scenario).folder
        standing = Standing(number, len(waiting), scenario, named[scenario.run_name], place)
        seen(standing)
        file = folder / "scenarios" / f"{scenario.run_name}.yaml"
        write_atomic(file, scenario.to_yaml().encode())
        # Nothing is imported from the folder that the user happens to be in, where others may write.
        command = [sys.executable, "-P", "-m", "fedcxr.cli", "simulate", str(file)]
        command += ["--out", str(out), "--engine", options.engine, "--format", "json"]
        command += ["--resume"] if options.resume and scenario.run_name not in outdated else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        complaint = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1] if done.returncode else ""
        if not complaint and Run.place(out, scenario).own_result is None:
            complaint = "the code has changed since this study began"
        seen(replace(standing, state="failed" if complaint else "done"))
        if complaint:
            told(f"{number} of {len(waiting)}: {file.stem} failed: {complaint}")
            return f"{file.stem}: {complaint}"
        told(f"{number} of {len(waiting)}: {file.stem}")
        return None

    with ThreadPoolExecutor(options.jobs) as pool:
        return [failure for failure in pool.map(run, enumerate(waiting, start=1)) if failure is not None]


def compare(study: Study, out: Path) -> dict[str, Any]:
    """What this code's runs on file say: per cell each figure's mean and spread over seeds, and if controls held."""
    rows = []
    for cell in study.cells():
        runs = [Run.place(out, cell.scenario(seed)) for seed in study.seeds]
        results = [result for run in runs if (result := run.own_result) is not None]
        attacks = [attack for result in results for attack in result["privacy"]["attacks"]]
        rows.append(
            {
                "differs": dict(cell.differs),
                "described": cell.described(),
                "runs": len(results),
                "figures": {name: _over_seeds([figure(r) for r in results]) for name, figure in FIGURES.items()},
                "conclusive": all(attack["conclusive"] for attack in attacks) if attacks else None,
                "converged": _converged(results),
                "folders": [str(run.folder) for run in runs],
            }
        )
    return {"schema": 1, "study": study.name, "seeds": list(study.seeds), "rows": rows}


def keep(comparison: Mapping[str, Any], out: Path) -> Path:
    """Store a comparison beside its runs."""
    path = out / str(comparison["study"]) / "study.json"
    write_json(path, comparison)
    return path


def load(folder: Path) -> dict[str, Any]:
    """A stored comparison."""
    found: dict[str, Any] = read_json(folder / "study.json")
    return found


def table(comparison: Mapping[str, Any]) -> str:
    """A comparison as a Markdown table: the mean over seeds, and their standard deviation where there are several."""
    heads = ["scenario", "runs", *FIGURES, "controls", "converged"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in comparison["rows"]:
        figures = [_shown(row["figures"][name]) for name in FIGURES]
        held = {True: "held", False: "**failed**", None: "-"}[row["conclusive"]]
        end = {True: "yes", False: "**lower bound**", None: "-"}[row.get("converged")]
        lines.append(f"| {' | '.join([row['described'], str(row['runs']), *figures, held, end])} |")
    return "\n".join(lines)


def _utility(result: Mapping[str, Any], level: str) -> float | None:
    findings = result["utility"]["findings"]
    return findings[level]["mean_auc"]["value"] if findings and findings[level] else None


def _attack(result: Mapping[str, Any], attacker: str) -> float | None:
    """Of those who are asked whose the released films are."""
    asked = [a for a in result["privacy"]["attacks"] if a.get("question", "linkage") == "linkage"]
    values = [a["auc"]["value"] for a in asked if a["attacker"] == attacker]
    return max((v for v in values if v is not None), default=None)


def _converged(results: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether every run's worst case is more than a lower bound; None: nobody attacked."""
    worst = [result["privacy"]["worst_case"] for result in results if result["privacy"]["worst_case"]]
    return not any(one.get("lower_bound", True) for one in worst) if worst else None


def _over_seeds(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
    }


def _shown(figure: Mapping[str, float | None]) -> str:
    if figure["mean"] is None:
        return "unknown"
    spread = "" if figure["std"] is None else f" ± {figure['std']:.3f}"
    return f"{figure['mean']:.3f}{spread}"


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(v) if key == "name" else f"{key} {_short(v)}" for key, v in value.items())
    return str(value)
