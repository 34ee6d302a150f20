"""`fedcxr study`: a grid of scenarios under several seeds, planned, conducted and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcxr.cli.options import Device, Engine, Format, FormatOption, Preset, Sets
from fedcxr.errors import TooFewSites

if TYPE_CHECKING:
    from fedcxr.runs.conduct import Failure
    from fedcxr.runs.study import Study


def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="Scenarios that differ in some keys, and seeds.")],
    sets: Sets = None,
    preset: Annotated[Preset | None, typer.Option(help="Sizes and budgets of every run.")] = None,
    device: Annotated[Device | None, typer.Option(help="Where networks run.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders go.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Keep finished runs, and go on with the others.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and where they go, and stop.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 1,
    engine: Annotated[Engine, typer.Option(help="Flower on Ray, or in one process.")] = Engine.ray,
    format: FormatOption = Format.text,
) -> None:
    """Run a grid of scenarios under several seeds, and compare them in one table.

    Flags change every scenario of the study. The comparison is stored as study.json and study.csv.
    """
    from fedcxr.cli import console, tables
    from fedcxr.cli.study_progress import StudyScreen
    from fedcxr.runs import comparison
    from fedcxr.runs.conduct import Options, conduct
    from fedcxr.runs.study import Study

    flags = {"preset": preset and preset.value, "compute.device": device and device.value}
    told = [f"{key}={value}" for key, value in flags.items() if value is not None]
    chosen = Study.read(file, [*told, *(sets or ())])
    if dry_run:
        _planned(chosen, out, format)
        return
    screen = StudyScreen(console.stderr(), jobs)
    with screen.shown():
        failures = conduct(chosen, Options(out, jobs, engine.value, resume), screen.told, screen.seen)
    found = comparison.compare(chosen, out)
    path = comparison.keep(found, out)
    if format is Format.json:
        typer.echo(json.dumps(found, indent=1))
    else:
        tables.show(comparison.screen(found, path.parent), console.stdout())
    typer.echo(str(path), err=True)
    if failures:
        raise _failed(failures, chosen.size)


def _planned(chosen: Study, out: Path, format: Format) -> None:
    """What there is to do and what is done, without a file written."""
    from fedcxr.runs import Run

    runs = [(described, Run.place(out, scenario)) for scenario, described in chosen.runs()]
    plan = [{"run": one, "folder": str(run.folder), "on_file": run.own_result is not None} for one, run in runs]
    if format is Format.json:
        typer.echo(json.dumps({"study": chosen.name, "runs": plan}, indent=1))
        return
    for one in plan:
        typer.echo(f"{'on file' if one['on_file'] else 'to do  '}  {one['run']}\n         {one['folder']}")
    done = sum(bool(one["on_file"]) for one in plan)
    typer.echo(f"{chosen.name}: {done} of {len(plan)} runs are on file; nothing was started")


def _failed(failures: list[Failure], size: int) -> TooFewSites:
    """Going on helps against what passes, not against what is wrong."""
    first = next((failure for failure in failures if not failure.passing), failures[0])
    goes_on = "the same command with --resume goes on"
    do = goes_on if first.passing else f"that comes up again until it is mended; then {goes_on}"
    return TooFewSites(f"{len(failures)} of {size} runs failed", given=first, do=do)
