"""A study: scenarios that differ in a few keys, each under several seeds."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError
from fedcxr.runs.constraints import Constraint, check, known
from fedcxr.scenario import Scenario, schema
from fedcxr.scenario.document import assign, override, read_file, to_text
from fedcxr.scenario.sections import Section

MOST_RUNS = 10_000
LONGEST_NAME = 80  # characters
NAME, CONSTRAINTS = "name", "constraints"  # keys of a case that are no scenario's


class Study(Section):
    """Every case with every combination of the grid's values, under every seed."""

    name: str = pydantic.Field("study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    scenario: dict[str, Any] = pydantic.Field({}, description="what all have in common")
    cases: tuple[dict[str, Any], ...] = pydantic.Field(
        ({},),
        min_length=1,
        description="keys that differ: `a.b: value`; also `name`, for tables, and `constraints` beside all others'",
    )
    grid: dict[str, tuple[Any, ...]] = pydantic.Field({}, description="keys with several values each: `a.b: [...]`")
    seeds: tuple[int, ...] = pydantic.Field((0,), min_length=1, description="each scenario runs once under each")
    constraints: tuple[str, ...] = pydantic.Field(
        (), description="what a policy must meet, such as `utility.findings.trained.mean_auc >= 0.78`"
    )
    flags: tuple[str, ...] = pydantic.Field(
        (), description="`a.b=VALUE` as a command line has it, which outranks cases and grid"
    )

    @classmethod
    def read(cls, path: Path, flags: Sequence[str] = ()) -> Study:
        """The study in a file, changed in all its scenarios by flags as `--set` takes them; each scenario checked."""
        study = plugins.validate(cls, read_file(path), "study")
        study = study.model_copy(update={"flags": (*study.flags, *flags)})
        if study.size > MOST_RUNS:
            raise ConfigError("this study is too large", given=f"{study.size} runs", allowed=str(MOST_RUNS))
        if study.size == 0:
            raise ConfigError("this study has no runs", given="a key of the grid without values")
        for key in {*study.grid, *(key for case in study.cases for key in case)}:
            if not all(key.split(".")):
                raise ConfigError("this is not a key of a scenario", given=key, allowed="a.b")
        study._check_runs()
        return study

    def _check_runs(self) -> None:
        """Parse every scenario: refuse runs that are the same, and constraints on what no result says."""
        seen: dict[tuple[str, str], str] = {}
        said: set[str] = set()
        common = [Constraint.parse(text) for text in self.constraints]
        cells = list(self.cells())
        for called, times in Counter(cell.described() for cell in cells if cell.name).items():
            if times > 1:
                raise ConfigError("two cases of this study have one name", given=called, do="name each case once")
        for seed, cell in itertools.product(self.seeds, cells):
            scenario, described = cell.scenario(seed), f"{cell.described()}, seed {seed}"
            place = (scenario.name, scenario.run_name)
            if place in seen:
                raise ConfigError(
                    "two runs of this study are the same",
                    given=f"{seen[place]}; {described}",
                    do="name each seed once, and let cases and grid differ in what no flag replaces",
                )
            seen[place] = described
            if seed == self.seeds[0]:
                own = known(scenario)
                check(cell.constraints[len(common) :], own)
                said |= own
        check(common, said)

    def runs(self) -> Iterator[Trial]:
        """Every run, seed after seed, so that a study that is stopped early can be compared."""
        for seed in self.seeds:
            for cell in self.cells():
                yield Trial(cell.scenario(seed), f"{cell.described()}, seed {seed}", cell.constraints)

    @property
    def size(self) -> int:
        """How many runs it takes."""
        return len(self.cases) * math.prod(map(len, self.grid.values())) * len(self.seeds)

    def cells(self) -> Iterator[Cell]:
        """What is compared, one after the other."""
        common = [Constraint.parse(text) for text in self.constraints]
        for case in self.cases:
            keys = {key: value for key, value in case.items() if key not in (NAME, CONSTRAINTS)}
            name, constraints = _name(case), (*common, *map(Constraint.parse, _constraints(case)))
            for values in itertools.product(*self.grid.values()):
                varied = dict(zip(self.grid, values, strict=True))
                differs = {**keys, **varied}
                document: dict[str, Any] = {"name": self.name, **self.scenario}
                for path, value in differs.items():
                    document = assign(document, path.split("."), value)
                for flag in self.flags:
                    document = override(document, flag)
                yield Cell(differs, document, name, varied, constraints)

    def to_yaml(self) -> str:
        """A file from which the same study is read, flags and all."""
        return to_text(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Trial:
    """One run of a study."""

    scenario: Scenario
    described: str  # by what it differs from the others
    constraints: tuple[Constraint, ...]  # what it must meet


@dataclass(frozen=True)
class Cell:
    """One scenario of a study: by what it differs from the others, its document, and what it must meet."""

    differs: Mapping[str, Any]
    document: Mapping[str, Any]
    name: str | None = None  # its case's
    varied: Mapping[str, Any] = field(default_factory=dict)  # what of `differs` is the grid's
    constraints: tuple[Constraint, ...] = ()

    def scenario(self, seed: int) -> Scenario:
        return Scenario.parse({**self.document, "seed": seed})

    def described(self) -> str:
        """For the first column of a table."""
        differs = self.differs if self.name is None else self.varied
        if not differs:
            return self.name or str(self.document.get("name"))
        told = {path.removeprefix("method.").removeprefix("method"): value for path, value in differs.items()}
        each = (f"{path} {_short(value)}".strip() for path, value in told.items())
        return ", ".join([*([] if self.name is None else [self.name]), *each])


def _name(case: Mapping[str, Any]) -> str | None:
    """What somebody calls a case."""
    name = case.get(NAME)
    if name is None:
        return None
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
        raise ConfigError("this is no name of a case", given=name, allowed=f"a text of up to {LONGEST_NAME} characters")
    return name.strip()


def _constraints(case: Mapping[str, Any]) -> Sequence[str]:
    """What a case must meet beside all others."""
    own = case.get(CONSTRAINTS, [])
    if not isinstance(own, list | tuple) or not all(isinstance(one, str) for one in own):
        raise ConfigError("a case's constraints are a list of texts", given=own)
    return own


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
