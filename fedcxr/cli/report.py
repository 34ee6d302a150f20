"""`fedcxr report`: what stored runs say, on one page for those who decide."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from fedcxr.cli.options import Format, FormatOption


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN|STUDY", help="The folder of a run or of a study.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the report goes; the folder itself unless told.")
    ] = None,
    pictures: Annotated[
        bool | None,
        typer.Option("--pictures/--no-pictures", help="Show released films; unless told, only of made-up patients."),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write figures, curves and pictures of each run for TensorBoard, too."),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    format: FormatOption = Format.text,
) -> None:
    """Make report.html of a run or a study, with report.json, dpia.json, and tables as CSV and LaTeX.

    Everything is read from stored results. What cannot be read is named, and the rest is reported all the same.
    """
    from fedcxr.report import event_files
    from fedcxr.report.making import report as read

    events = event_files.write(folder, tensorboard, pictures) if tensorboard else []
    made = read(folder, pictures)
    place = made.write(out or folder)
    if format is Format.json:
        typer.echo(json.dumps(made.document, indent=1))
    else:
        for sentence in made.document["answer"]:
            typer.echo(sentence)
    if made.document["other_code"]:
        typer.echo(made.document["other_code"], err=True)
    typer.echo(str(place), err=True)
    if events:
        typer.echo(f"{tensorboard}: {len(events)} runs; tensorboard --logdir {tensorboard}", err=True)
    if open_it and not webbrowser.open(place.resolve().as_uri()):
        typer.echo(f"no browser could be started; open {place} by hand", err=True)
    made.complain()
