"""The commands under `fedcxr data`: what sources there are, and whether a cohort is fit for use, packed or drawn."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcxr.cli.help import App
from fedcxr.cli.options import Format, FormatOption, cores, mapping, stoppable
from fedcxr.errors import ConfigError

if TYPE_CHECKING:
    from fedcxr.data import Source
    from fedcxr.data._report import Report

data_app = App(help="Check, pack and look at cohorts.")

SourceName = Annotated[str, typer.Option("--source", help="Where the films come from; see `fedcxr data sources`.")]
Root = Annotated[Path | None, typer.Option(metavar="DIR", help="The folder of films.")]
Table = Annotated[Path | None, typer.Option(metavar="FILE", help="The table, if it is not in its usual place.")]
Columns = Annotated[
    str | None, typer.Option(metavar="image=NAME,...", help="What the table calls its columns, if not as is usual.")
]
Keys = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other key of the source.")]
MaxBad = Annotated[int | None, typer.Option(help="Unusable films to go on without.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless told.")]


@data_app.command("sources", epilog="Example: fedcxr data sources folder")
def sources(
    name: Annotated[str | None, typer.Argument(help="One of them, with all it can be told.")] = None,
    format: FormatOption = Format.text,
) -> None:
    """List the sources of films."""
    from fedcxr.cli import catalogue

    told = format.value
    typer.echo(catalogue.listing("source", told) if name is None else catalogue.entry("source", name, told))


@data_app.command("check", epilog="Example: fedcxr data check --source nih --root /data/ChestX-ray14")
def check(
    source: SourceName = "phantom",
    root: Root = None,
    table: Table = None,
    columns: Columns = None,
    sets: Keys = None,
    max_bad: MaxBad = None,
    workers: Workers = None,
    format: FormatOption = Format.text,
) -> None:
    """Read every film and tell what is there, what cannot be used and what an audit could find, and write nothing."""
    from fedcxr.cli import console
    from fedcxr.data import _packed

    chosen = _source(source, root, table, columns, max_bad, sets)
    with at_home("nothing was written"), console.counted("films", console.stderr()) as progress:
        report = _packed.check(chosen, workers=workers or cores(), progress=progress)
    _tell(report, format)


@data_app.command("shard", epilog="Example: fedcxr data shard --source nih --root /data/ChestX-ray14 --out nih-64")
def shard(
    source: SourceName = "phantom",
    root: Root = None,
    table: Table = None,
    columns: Columns = None,
    sets: Keys = None,
    max_bad: MaxBad = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The shard to make.")] = Path("shard"),
    workers: Workers = None,
    format: FormatOption = Format.text,
) -> None:
    """Pack a cohort into one shard: decoded, resized, checked, with check sums. An interrupted one goes on."""
    from fedcxr.cli import console
    from fedcxr.data import _packed, cache_folder

    chosen = _source(source, root, table, columns, max_bad, sets)
    with at_home("the same command goes on from here"), console.counted("films", console.stderr()) as progress:
        report = _packed.pack(chosen, out, cache_folder(), workers=workers or cores(), progress=progress)
    _tell(report, format)
    typer.echo(f"shard: {out}", err=format is Format.json)


@data_app.command("show", epilog="Example: fedcxr data show --source phantom --out phantom.png")
def show(
    source: SourceName = "phantom",
    root: Root = None,
    table: Table = None,
    columns: Columns = None,
    sets: Keys = None,
    max_bad: MaxBad = None,
    films: Annotated[int, typer.Option(min=1, max=400, help="How many films to show.")] = 30,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture to write.")] = Path("films.png"),
    workers: Workers = None,
    format: FormatOption = Format.text,
) -> None:
    """Draw a contact sheet of a cohort: films of one patient side by side, findings below, outlines of masks."""
    if out.suffix.lower() != ".png":
        raise ConfigError("a contact sheet is a PNG", given=f"--out {out}", allowed=".png", do=f"say {out.stem}.png")

    from fedcxr.cli import console
    from fedcxr.data import _packed, cache_folder
    from fedcxr.runs.pictures import contact_sheet, png
    from fedcxr.storage.disk import write_atomic

    chosen = _source(source, root, table, columns, max_bad, sets)
    with at_home("no picture was written"), console.counted("films", console.stderr()) as progress:
        seen = _packed.preview(chosen, films, cache_folder(), workers=workers or cores(), progress=progress)
        drawn = png(contact_sheet(seen.shown, films, outlined=chosen.real))
    write_atomic(out, drawn)
    told = {"picture": str(out), "shown": len(seen.shown), "films": seen.films, "patients": seen.patients}
    if format is Format.json:
        typer.echo(json.dumps(told))
    else:
        typer.echo("{picture}: {shown} of {films} films of {patients} patients".format_map(told))


def _tell(report: Report, format: Format) -> None:
    """All of it, also where the films are then not enough."""
    typer.echo(report.to_json() if format is Format.json else report.to_text())
    report.demand(named="they are named above")


@contextlib.contextmanager
def at_home(stopped: str) -> Iterator[None]:
    """Work on films before their owner, whom errors may show what stands in a table."""
    from fedcxr.data._guess import LacksColumns

    with stoppable(stopped):
        try:
            yield
        except LacksColumns as error:
            raise error.in_full from None


def _source(
    name: str, root: Path | None, table: Path | None, columns: str | None, max_bad: int | None, sets: list[str] | None
) -> Source:
    """The source these flags describe; `--set` has the last word."""
    from fedcxr import scenario

    given = {
        "root": str(root) if root else None,
        "table": str(table.absolute() if table.is_file() else table) if table else None,  # else from the source's root
        "columns": mapping(columns) if columns else None,
        "max_bad": max_bad,
    }
    flags = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    return scenario.source(name, [*flags, *(sets or ())])
