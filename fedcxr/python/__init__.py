"""What is typed in Python: the commands as functions, which give their results as objects and raise their errors."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedcxr import orders
from fedcxr.errors import ConfigError, TooFewSites, UnknownName
from fedcxr.python._results import AuditResult, Result, StudyResult

if TYPE_CHECKING:
    from fedcxr.orders import Order

__all__ = ["AuditResult", "Result", "StudyResult", "audit", "load", "simulate", "study"]

Where = str | os.PathLike[str]


def simulate(
    scenario: Where | Mapping[str, Any] | None = None,
    *,
    sites: int | None = None,
    method: str | Mapping[str, Any] | None = None,
    seed: int | None = None,
    preset: str | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    budget: float | None = None,
    fresh_secret: bool = False,
    engine: str = "ray",
    out: Where = "runs",
    resume: bool = False,
    ray_address: str | None = None,
    strict: bool = False,
    progress: bool = True,
    **parameters: Any,
) -> Result:
    """Simulate one sharing arrangement, as `fedcxr simulate` does: sites release, the server trains, somebody attacks.

    `scenario` is a file or a mapping; the other arguments go before it. `parameters` are the method's: `scale=0.2`.
    `settings` are any other keys: `{"cohort.patients": 200}`. With `progress`, stderr hears how far it is.
    """
    from fedcxr.scenario.document import read_file

    document = dict(scenario) if isinstance(scenario, Mapping) else read_file(Path(scenario)) if scenario else {}
    if isinstance(method, Mapping):
        document, method = {**document, "method": dict(method)}, None
    keys = {**{f"method.{name}": value for name, value in parameters.items()}, **(settings or {})}
    sets = tuple(map(_set, keys.items()))
    wishes = orders.Wishes(sites, method, seed, preset, device, sets, fresh_secret, budget)
    order = orders.Order(wishes.scenario(document, resume=resume), Path(out), engine, resume, ray_address)
    with orders.as_a_command(), _followed(order) if progress else contextlib.nullcontext():
        run = order.conducted()
    result = run.result
    assert result is not None
    if strict:
        orders.demand_controls(result)
    return Result(run.folder, result)


def study(
    plan: Where | Mapping[str, Any],
    *,
    preset: str | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    engine: str = "ray",
    out: Where = "runs",
    resume: bool = False,
    jobs: int = 1,
    ray_address: str | None = None,
    progress: bool = True,
) -> StudyResult:
    """Run a grid of scenarios under several seeds and compare them, as `fedcxr study` does.

    `plan` is a file or a mapping. If runs fail, the others go on; what there is is stored before the error is raised.
    """
    from fedcxr.runs import comparison, conduct
    from fedcxr.runs.study import Study

    if engine not in orders.ENGINES:
        raise UnknownName("engine", engine, orders.ENGINES)
    if ray_address and engine != "ray":
        raise ConfigError("--ray-address needs the engine ray", given=f"--engine {engine}")
    keys = {"preset": preset, "compute.device": device}
    told = {key: value for key, value in keys.items() if value is not None} | dict(settings or {})
    with _file(plan) as path:
        chosen = Study.read(path, [_set(item) for item in told.items()])
    with orders.as_a_command():
        how = conduct.Options(Path(out), jobs, engine, resume, ray_address)
        failures = conduct.conduct(chosen, how, _told if progress else _silent)
        compared = comparison.compare(chosen, Path(out))
        folder = comparison.keep(compared, Path(out)).parent
    if failures:
        raise TooFewSites(f"{len(failures)} of {chosen.size} runs failed", given=failures[0], do=f"see {folder}")
    return StudyResult(folder, compared)


def audit(
    *,
    original: Where,
    released: Where,
    table: Where | None = None,
    columns: Mapping[str, str] | None = None,
    thorough: bool = False,
    out: Where | None = None,
    pictures: bool = True,
    max_bad: int = 0,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    workers: int = 1,
) -> AuditResult:
    """Attack one's own anonymised films, as `fedcxr audit` does; only where `out` is given, anything is written.

    `workers` are processes; a script that wants several must be one that can be imported.
    """
    from fedcxr.audit import Folders, placed
    from fedcxr.audit import audit as attack
    from fedcxr.audit._table import Columns
    from fedcxr.training.compute import Compute

    named = None if table is None else Path(table)
    folders = Folders(Path(original), Path(released), named, Columns.told(columns or {}), max_bad)
    compute = Compute.choose(device)
    with orders.as_a_command(), contextlib.ExitStack() as stack:
        if out is not None:
            stack.enter_context(placed.place(Path(out), (folders.original, folders.released)))
        found = attack(folders, thorough=thorough, seed=seed, compute=compute, workers=workers)
        if out is not None:
            found.write(Path(out), pictures=pictures)
    return AuditResult(None if out is None else Path(out), found.report, found)


def load(folder: Where) -> Result:
    """A finished run that is on file, whichever version of the code made it."""
    from fedcxr.runs.stored import Stored

    stored = Stored.read(Path(folder))
    return Result(stored.folder, stored.result)


def _set(item: tuple[str, Any]) -> str:
    """A key and its value as `--set` takes them: what YAML reads of JSON is what was meant."""
    key, value = item
    try:
        return f"{key}={json.dumps(value, default=_plain)}"
    except (TypeError, ValueError):
        raise ConfigError(f"{key} is no plain value", given=value, allowed="numbers, words, lists, mappings") from None


def _plain(value: Any) -> Any:
    """A path as text, a number of NumPy's as Python's own."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else list(value)


@contextlib.contextmanager
def _file(plan: Where | Mapping[str, Any]) -> Iterator[Path]:
    """A plan as a file, which is read once and kept for nobody."""
    import yaml

    if not isinstance(plan, Mapping):
        yield Path(plan)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        try:
            path.write_text(yaml.safe_dump(json.loads(json.dumps(dict(plan), default=_plain)), sort_keys=False))
        except (TypeError, ValueError):
            raise ConfigError("a study is plain data", given=plan, allowed="numbers, words, lists, mappings") from None
        yield path


@contextlib.contextmanager
def _followed(order: Order) -> Iterator[None]:
    """On stderr, as a command shows it."""
    from fedcxr.cli import console, progress
    from fedcxr.cli.journey import Journey

    if order.lost:
        _told(order.lost)
    journey = Journey(order.planned, learns=order.scenario.method.learning is not None)
    with progress.followed(progress.Tail(order.run.folder / "events.jsonl"), journey, console.stderr()):
        yield


def _told(line: str) -> None:
    from fedcxr.cli import console

    console.stderr().print(line, markup=False, soft_wrap=True)


def _silent(line: str) -> None:
    pass
