"""`fedcxr runs`: what is stored, shown again, beside each other, and what differs between two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedcxr.cli.help import App
from fedcxr.cli.options import Format, FormatOption
from fedcxr.errors import DataError, FedcxrError

if TYPE_CHECKING:
    from fedcxr.runs.stored import Stored

runs_app = App(help="Runs that are on file.")

Named = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or how `runs list` calls it.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where run folders are.")]
OfKit = Annotated[
    Path | None, typer.Option("--kit", metavar="KIT", help="Runs at hospitals, which lie in the coordinator's kit.")
]


@runs_app.command("list", epilog="Example: fedcxr runs list runs")
def runs_list(
    out: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where run folders are.")] = Path("runs"),
    kit: OfKit = None,
    format: FormatOption = Format.text,
) -> None:
    """List the runs below a folder: when each was made, how far it is, and its main figures."""
    from fedcxr.cli import console, tables
    from fedcxr.runs import listing

    found = listing.below(_place(out, kit))
    if format is Format.json:
        typer.echo(json.dumps([one.told() for one in found], indent=1))
    else:
        tables.show(listing.table(found), console.stdout())


@runs_app.command("show", epilog="Example: fedcxr runs show noise-5f1d8a20")
def runs_show(run: Named, out: Out = Path("runs"), kit: OfKit = None, format: FormatOption = Format.text) -> None:
    """Show a finished run's result as the command did that made it."""
    from fedcxr.runs import stored

    folder = stored.found(run, _place(out, kit))
    show(folder, stored.Stored.read(folder).result if (folder / "result.json").is_file() else None, format)


@runs_app.command("compare", epilog="Example: fedcxr runs compare noise-5f1d8a20 none-c917e661")
def runs_compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders, or how `runs list` calls them.")],
    out: Out = Path("runs"),
    kit: OfKit = None,
    format: FormatOption = Format.text,
) -> None:
    """Put the main figures of runs beside each other, and the keys in which their scenarios differ."""
    from fedcxr.cli import console, tables
    from fedcxr.runs import beside

    readable, damaged = _read(runs, _place(out, kit))
    for error in damaged:
        typer.echo(f"left out: {error}", err=True)
    if readable:
        told = beside.compared(readable)
        if format is Format.json:
            typer.echo(json.dumps(told, indent=1))
        else:
            tables.show(beside.compared_table(told), console.stdout())
    if damaged:
        raise DataError(f"{len(damaged)} of {len(runs)} runs cannot be compared", do="why not is said above")


@runs_app.command("diff", epilog="Example: fedcxr runs diff noise-5f1d8a20-0 noise-5f1d8a20-1")
def runs_diff(
    left: Named, right: Named, out: Out = Path("runs"), kit: OfKit = None, format: FormatOption = Format.text
) -> None:
    """Say what differs between two runs: scenario, code, released bytes, and figures against their intervals.

    The same scenario, seed and code must give the same bytes: where they do not, that is said first.
    """
    from fedcxr.cli import console, tables
    from fedcxr.runs import beside, stored

    place = _place(out, kit)
    both = [stored.Stored.read(stored.found(one, place)) for one in (left, right)]
    for run in both:
        with stored.as_promised(run.folder):
            beside.diff_tables(beside.diff(run, run))
    told = beside.diff(*both)
    if format is Format.json:
        typer.echo(json.dumps(told, indent=1))
        return
    screen = console.stdout()
    tables.say(beside.verdict(told), screen)
    for table in beside.diff_tables(told):
        screen.print()
        tables.show(table, screen)


def show(folder: Path, result: Mapping[str, Any] | None, format: Format) -> None:
    """A result on one screen with what hospitals told of their work, or whole."""
    from fedcxr.cli import console
    from fedcxr.runs import site_logs
    from fedcxr.runs.stored import as_promised

    logs = site_logs.lines(folder) if format is Format.text else []
    if result is None:
        typer.echo("\n".join(logs), nl=bool(logs))
        raise DataError("this run has no result", given=folder, do="it is unfinished: run it again with --resume")
    if format is Format.json:
        typer.echo(json.dumps(result, indent=1))
    else:
        with as_promised(folder):
            console.summary(result, folder, console.stdout())
        typer.echo("\n".join(["", *logs]) if logs else "", nl=bool(logs))


def _place(out: Path, kit: Path | None) -> Path:
    """Where the runs are: those at hospitals lie in the coordinator's kit."""
    return out if kit is None else kit / "runs"


def _read(named: Sequence[str], out: Path) -> tuple[list[Stored], list[FedcxrError]]:
    """Those that can be read and compared, and why the others cannot."""
    from fedcxr.runs import beside, stored

    readable, damaged = [], []
    for name in named:
        try:
            run = stored.Stored.read(stored.found(name, out))
            with stored.as_promised(run.folder):
                beside.compared_table(beside.compared([run]))
            readable.append(run)
        except FedcxrError as error:
            damaged.append(error)
    return readable, damaged
