"""`fedcxr study`: a grid of scenarios under several seeds, planned, conducted and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcxr.cli.options import Device, Engine, Format, FormatOption, Preset, Sets
from fedcxr.errors import ConfigError, TooFewSites

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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs, what is on file, time and disk by earlier runs, and stop.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 1,
    engine: Annotated[Engine, typer.Option(help="Flower on Ray, or in one process.")] = Engine.ray,
    ray_address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Use a Ray cluster that runs.")] = None,
    format: FormatOption = Format.text,
) -> None:
    """Run a grid of scenarios under several seeds, and compare them in one table.

    Flags change every scenario of the study. The comparison is stored as study.json and study.csv, and says of each
    policy whether it meets the study's `constraints`, and which differences between policies these patients tell.
    """
    from fedcxr.cli import console, tables
    from fedcxr.cli.study_progress import StudyScreen
    from fedcxr.runs import comparison, differences
    from fedcxr.runs.conduct import Options, conduct
    from fedcxr.runs.study import Study

    if ray_address and engine is not Engine.ray:
        raise ConfigError("--ray-address needs the engine ray", given=f"--engine {engine}")
    flags = {"preset": preset and preset.value, "compute.device": device and device.value}
    told = [f"{key}={value}" for key, value in flags.items() if value is not None]
    chosen = Study.read(file, [*told, *(sets or ())])
    if dry_run:
        _planned(chosen, out, jobs, format)
        return
    screen = StudyScreen(console.stderr(), jobs)
    with screen.shown():
        options = Options(out, jobs, engine.value, resume, ray_address)
        failures = conduct(chosen, options, screen.told, screen.seen)
    found = comparison.compare(chosen, out)
    path = comparison.keep(found, out)
    if format is Format.json:
        typer.echo(json.dumps(found, indent=1))
    else:
        tables.show(comparison.screen(found, path.parent), console.stdout())
        apart = differences.screen(found["differences"])
        if apart is not None:
            tables.show(apart, console.stdout())
    typer.echo(str(path), err=True)
    if failures:
        raise _failed(failures, chosen.size)


def _planned(chosen: Study, out: Path, jobs: int, format: Format) -> None:
    """What there is to do and what is done, without a file written."""
    from fedcxr.cli.journey import lasting
    from fedcxr.data import cache_folder
    from fedcxr.runs.plan import planned, summed
    from fedcxr.storage.artefacts import Artefacts

    plan = planned(chosen, out)
    whole, kept = summed(plan, jobs), Artefacts.below(cache_folder()).chosen()
    shared = {"artefacts": len(kept), "artefact_bytes": sum(entry.size for entry in kept)}
    whole |= {**shared, "free_bytes": _free(out)}
    if format is Format.json:
        told = {"study": chosen.name, "constraints": list(chosen.constraints), "all": whole}
        typer.echo(json.dumps({**told, "runs": [one.told() for one in plan]}, indent=1))
        return
    for one in plan:
        if one.on_file:
            typer.echo(f"on file  {one.described}\n         {one.folder}")
            continue
        takes = "time and disk unknown: no such run is on file"
        if one.seconds is not None and one.disk is not None:
            takes = f"about {lasting(one.seconds)} and {one.disk / 1e6:.1f} MB, by {one.by}"
        typer.echo(f"to do    {one.described}\n         {one.folder}\n         {takes}")
    if whole["seconds"] is not None:
        rest = f", and of {whole['unknown']} runs it is unknown" if whole["unknown"] else ""
        at_once = f" with {jobs} at once" if jobs > 1 else ""
        typer.echo(f"about {lasting(whole['seconds'])}{at_once} and {whole['bytes'] / 1e6:.1f} MB{rest}")
    elif whole["unknown"]:
        typer.echo("how long all takes is unknown: no run of these methods on such films is on file")
    typer.echo(f"free disk: {whole['free_bytes'] / 1e9:.1f} GB")
    made = f"{len(kept)} artefacts ({whole['artefact_bytes'] / 1e6:.1f} MB) are made and shared"
    typer.echo(f"{made}; which of them serve here is known once films are open")
    typer.echo(f"{chosen.name}: {whole['on_file']} of {len(plan)} runs are on file; nothing was started")


def _free(out: Path) -> int:
    """Bytes, where run folders go."""
    import shutil

    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _failed(failures: list[Failure], size: int) -> TooFewSites:
    """Going on helps against what passes, not against what is wrong."""
    first = next((failure for failure in failures if not failure.passing), failures[0])
    goes_on = "the same command with --resume goes on"
    do = goes_on if first.passing else f"that comes up again until it is mended; then {goes_on}"
    return TooFewSites(f"{len(failures)} of {size} runs failed", given=first, do=do)
