"""A study: scenarios that differ in a few keys, each under several seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError
from fedcxr.scenario import Scenario, schema
from fedcxr.scenario.document import assign, override, read_file
from fedcxr.scenario.sections import Section

MOST_RUNS = 10_000


class Study(Section):
    """Every case with every combination of the grid's values, under every seed."""

    name: str = pydantic.Field("study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    scenario: dict[str, Any] = pydantic.Field({}, description="what all have in common")
    cases: tuple[dict[str, Any], ...] = pydantic.Field(
        ({},), min_length=1, description="keys that differ: `a.b: value`"
    )
    grid: dict[str, tuple[Any, ...]] = pydantic.Field({}, description="keys with several values each: `a.b: [...]`")
    seeds: tuple[int, ...] = pydantic.Field((0,), min_length=1, description="each scenario runs once under each")
    _flags: tuple[str, ...] = ()  # `a.b=VALUE` of a command line, which the file does not contradict

    @classmethod
    def read(cls, path: Path, flags: Sequence[str] = ()) -> Study:
        """The study in a file, changed in all its scenarios by flags as `--set` takes them; each scenario checked."""
        study = plugins.validate(cls, read_file(path), "study")
        study._flags = tuple(flags)
        if study.size > MOST_RUNS:
            raise ConfigError("this study is too large", given=f"{study.size} runs", allowed=str(MOST_RUNS))
        if study.size == 0:
            raise ConfigError("this study has no runs", given="a key of the grid without values")
        for key in {*study.grid, *(key for case in study.cases for key in case)}:
            if not all(key.split(".")):
                raise ConfigError("this is not a key of a scenario", given=key, allowed="a.b")
        seen: dict[tuple[str, str], str] = {}
        for scenario, described in study.runs():
            place = (scenario.name, scenario.run_name)
            if place in seen:
                raise ConfigError(
                    "two runs of this study are the same",
                    given=f"{seen[place]}; {described}",
                    do="name each seed once, and let cases and grid differ in what no flag replaces",
                )
            seen[place] = described
        return study

    def runs(self) -> Iterator[tuple[Scenario, str]]:
        """Every scenario, with what it differs in; seed after seed, so that one stopped early can be compared."""
        for seed in self.seeds:
            for cell in self.cells():
                yield cell.scenario(seed), f"{cell.described()}, seed {seed}"

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
                for flag in self._flags:
                    document = override(document, flag)
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


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(str(v) if key == "name" else f"{key} {_short(v)}" for key, v in value.items())
    return str(value)


def json_schema() -> dict[str, Any]:
    """The JSON schema of a study, for editors: what its scenarios share is part of one."""
    shared = schema.json_schema()
    definitions = shared.pop("$defs")
    study = Study.model_json_schema()
    study["properties"]["scenario"] = {k: v for k, v in shared.items() if k != "$schema"}
    return {"$schema": shared["$schema"], **study, "$defs": definitions}
