"""`fedcxr preflight` and `fedcxr doctor`: whether a machine would work, before others wait for it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcxr.cli.options import Device, Format, FormatOption, cores, stoppable

if TYPE_CHECKING:
    from fedcxr.deployment.checks.check import Check, Outcome, Report
    from fedcxr.deployment.kit import ServerKit, SiteKit

WIDTH = 80  # of a screen
NAME, VERDICT = 11, 9  # of its columns
INDENT = NAME + VERDICT + 2

DeviceOption = Annotated[Device, typer.Option("--device", help="Where networks shall run; cuda: a card is a must.")]


def preflight(
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="A site's kit, or the server's, on its own machine.")],
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="The site's; else KIT/profile.yaml.")
    ] = None,
    device: DeviceOption = Device.auto,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read every film.")] = False,
    format: FormatOption = Format.text,
) -> None:
    """Look at everything that a kit's start would trip over, and name each problem with its fix. Nothing is started.

    Run it as the user who starts the kit. A problem ends it with exit 3, or with 5 if it is one of security.
    """
    from fedcxr.cli import console
    from fedcxr.deployment import kit as kits
    from fedcxr.deployment.checks import lists
    from fedcxr.deployment.checks.credentials import today
    from fedcxr.deployment.checks.hospital import Hospital

    folder = kit.absolute()
    told = _told(folder)
    with stoppable("nothing was changed"), console.counted("films", console.stderr()) as progress:
        if isinstance(told, kits.SiteKit):
            own = Hospital(
                told.site,
                profile or folder / kits.PROFILE,
                folder / kits.COORDINATOR_CARD,
                cores(),
                progress,
                whole=not quick,
            )
            report = _made(lists.of_site(folder, told, own, device.value, today()))
        else:
            report = _made(lists.of_server(folder, told, device.value, today()))
    _tell(report, f"{told.consortium}: {told.role} at {told.address}", format)
    report.demand("mend them and run this again")


def doctor(device: DeviceOption = Device.auto, format: FormatOption = Format.text) -> None:
    """Look at one machine without a kit: versions, devices, free disk, and what is missing."""
    from fedcxr.deployment.checks import lists

    report = _made(lists.of_machine(device.value))
    _tell(report, "this machine", format)
    report.demand("mend them and run this again")


def _told(folder: Path) -> SiteKit | ServerKit:
    """What the kit says it is; whether the rest of it fits is the first thing to be looked at."""
    from fedcxr.cli.key_files import read_text
    from fedcxr.deployment import kit as kits
    from fedcxr.errors import DataError

    if not (folder / kits.KIT).is_file():
        raise DataError("there is no kit here", given=folder, do="name a folder that `fedcxr provision` made")
    return kits.parse(read_text(folder / kits.KIT, kits.LARGEST))


def _made(checks: Iterable[Check]) -> Report:
    from fedcxr.deployment.checks.check import Report

    return Report.of(checks)


def _tell(report: Report, of: str, format: Format) -> None:
    if format is Format.json:
        from fedcxr.deployment.checks.check import Verdict

        counts = {verdict.value: len(report.named(verdict)) for verdict in Verdict}
        typer.echo(json.dumps({"of": of, **counts, "checks": report.facts}, indent=1))
        return
    typer.echo(of)
    for name, outcome in report.outcomes.items():
        typer.echo("\n".join(_lines(name, outcome)))


def _lines(name: str, outcome: Outcome) -> Iterator[str]:
    """What is fine takes one line; anything else as many as it needs, and one sentence of what to do."""
    from fedcxr.deployment.checks.check import Verdict
    from fedcxr.errors import one_line

    head = f"{outcome.verdict.value:{VERDICT}} {name:{NAME}} "
    if outcome.verdict in (Verdict.ok, Verdict.unchecked):
        yield head + one_line(outcome.found, WIDTH - INDENT)
        return
    indent = " " * INDENT
    yield textwrap.fill(one_line(outcome.found, 1000), WIDTH, initial_indent=head, subsequent_indent=indent)
    if outcome.fix:
        yield textwrap.fill(
            f"fix: {one_line(outcome.fix, 1000)}", WIDTH, initial_indent=indent, subsequent_indent=indent
        )
