"""`fedcxr audit`: attack one's own anonymised films, and be told in plain words how that went."""

from __future__ import annotations

import contextlib
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedcxr.cli.options import Device, Format, FormatOption, cores, mapping, stoppable
from fedcxr.errors import ControlFailed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID


Told = Callable[[str, int, int], None]

PAGE = "report.html"
WIDTH = 80  # columns


def audit(
    original: Annotated[Path, typer.Option(metavar="DIR", help="The films before they were anonymised.")],
    released: Annotated[Path, typer.Option(metavar="DIR", help="The anonymised films, under the same names.")],
    table: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Columns filename,patient and perhaps released,source.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="a=b,...", help="The table's own names: patient=id,source=scanner.")
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Larger films, more networks, longer: hours instead of minutes.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report.html and audit.json go.")] = Path("audit"),
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show on the page the films that were matched.")
    ] = True,
    max_bad: Annotated[int, typer.Option(min=0, help="Unusable films to go on without.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of every random stream.")] = 0,
    device: Annotated[Device, typer.Option(help="Where networks run.")] = Device.auto,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core unless told.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 6 if a control failed.")] = False,
    format: FormatOption = Format.text,
) -> None:
    """Attack your own anonymised films, and tell how re-identifiable they are.

    Released films are compared with their originals and with other films of the same patients, by attackers from the
    simplest to the strongest. The verdict is a lower bound: it says what was found, never that nothing can be.
    """
    from fedcxr.audit import Folders, placed
    from fedcxr.audit import audit as attack
    from fedcxr.audit._table import Columns
    from fedcxr.cli import console
    from fedcxr.training.compute import Compute

    folders = Folders(original, released, table, Columns.told({} if columns is None else mapping(columns)), max_bad)
    compute = Compute.choose(device.value)
    with stoppable("nothing was written; the same command begins anew"), placed.place(out, (original, released)):
        with _followed(console.stderr()) as told:
            found = attack(
                folders, thorough=thorough, seed=seed, compute=compute, workers=workers or cores(), progress=told
            )
        found.write(out, pictures=pictures)
    if format is Format.json:
        typer.echo(json.dumps(found.report, indent=1))
    else:
        for line in _summary(found.report, out, pictures):
            typer.echo(line)
    if strict and not found.report["controls"]["passed"]:
        raise ControlFailed(
            "a control failed, so the figures prove nothing",
            given=found.report["controls"]["failed_because"],
            do="use more films, or --thorough",
        )


@contextlib.contextmanager
def _followed(console: Console) -> Iterator[Told]:
    """A bar for each stage on a terminal, and a line for each anywhere else."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bars: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
                if not console.is_terminal:
                    typer.echo(what, err=True)
            progress.update(bars[what], completed=done, total=total)

        yield told


def _summary(report: Mapping[str, Any], out: Path, pictures: bool) -> Iterator[str]:
    """One screen."""
    said = report["verdict"]
    yield from textwrap.wrap(said["headline"], WIDTH)
    for sentence in said["sentences"]:
        yield ""
        yield from textwrap.wrap(sentence, WIDTH)
    yield ""
    yield f"{'attacker':<14}{'another film of the patient':>32}{'the very film':>30}"
    for person, film in zip(report["person"]["attackers"], report["film"]["attackers"], strict=True):
        yield f"{person['attacker']:<14}{_figure(person):>32}{_figure(film):>30}"
    yield "(AUC: .5 is guessing, 1 is never wrong; 95 % interval; right at first match)"
    yield ""
    yield from textwrap.wrap(f"Not tried: {'; '.join(said['not_tried'])}.", WIDTH)
    yield ""
    yield f"{out / PAGE}{', which holds pictures of patients,' if pictures else ''} and {out / 'audit.json'}"


def _figure(entry: Mapping[str, Any]) -> str:
    value, ci95, rank1 = entry["auc"]["value"], entry["auc"]["ci95"], entry["rank1"]
    span = "" if ci95 is None else f" ({ci95[0]:.2f} to {ci95[1]:.2f})"
    return ("unknown" if value is None else f"{value:.2f}{span}") + ("" if rank1 is None else f" {100 * rank1:3.0f} %")
