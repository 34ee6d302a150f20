"""`fedcxr server start`, `fedcxr submit` and `fedcxr runs stop`: what a coordinator of real hospitals types."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedcxr.cli.help import App
from fedcxr.cli.options import Format, FormatOption, Sets
from fedcxr.cli.runs import runs_app, show

if TYPE_CHECKING:
    from fedcxr.runs import Run
    from fedcxr.scenario import Scenario

server_app = App(help="The coordinator's machine.")

KitOption = Annotated[Path, typer.Option("--kit", metavar="KIT", help="The coordinator's kit.")]


@server_app.command("start", epilog="Example: fedcxr server start kits/server")
def server_start(
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="The folder `server` that `fedcxr provision` made.")],
) -> None:
    """Open the gate to hospitals and conduct what is submitted, until Ctrl-C."""
    from fedcxr.deployment.kit import read_server

    kit = kit.absolute()
    told = read_server(kit)
    with importlib.import_module("server.superlink").started(kit, told.superlink_port) as parts:
        typer.echo(f"{told.consortium}: hospitals reach {told.address}; logs are in {kit / 'run'}", err=True)
        parts.watch()


def site_start(
    kit: Annotated[Path, typer.Argument(metavar="KIT", help="This site's kit, with its certificate.")],
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="What this hospital allows; else KIT/profile.yaml.")
    ] = None,
) -> None:
    """Take part, until Ctrl-C: answer what the coordinator asks, as far as the profile allows it."""
    from fedcxr.deployment.kit import NODE_CERTIFICATE, PROFILE, read_site
    from fedcxr.errors import DataError

    kit = kit.absolute()
    told, own = read_site(kit), (profile or kit / PROFILE).absolute()
    if not (kit / NODE_CERTIFICATE).is_file():
        raise DataError(
            "this kit has no certificate yet",
            given=kit / NODE_CERTIFICATE,
            do="fedcxr site request KIT; send request.json to the coordinator, who sends node.crt back",
        )
    stated = importlib.import_module("sites.profile").Profile.read(own)  # a slip of the pen is found now
    with importlib.import_module("sites.node").started(kit, own, told.address, told.runtime_port) as parts:
        typer.echo(f"{stated.site}: takes part by way of {told.address}; logs are in {kit / 'run'}", err=True)
        parts.watch()


def submit(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.yaml", help="What hospitals are asked.")],
    kit: KitOption,
    sets: Sets = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random stream.")] = None,
    format: FormatOption = Format.text,
) -> None:
    """Conduct a scenario at real hospitals: hand it to the coordinator's server, and wait for what becomes of it.

    Ctrl-C stops waiting, and the run goes on; `fedcxr runs stop` ends it. The same command again finds it, or what is
    on file of it, and asks no hospital twice.
    """
    from fedcxr.cli import console, progress
    from fedcxr.cli.journey import Journey
    from fedcxr.cli.site_progress import Sites
    from fedcxr.runs import stages

    resolved = _scenario(scenario, sets, seed)
    with _control(kit) as control:
        submission = importlib.import_module("server.submission").Submission.of(kit.absolute(), control, resolved)
        run = submission.run
        planned = [stage for stage in stages.at_hospitals() if not run.has_stage(stage)]
        journey = Journey(planned, learns=resolved.method.learning is not None)
        events = progress.Tail(run.folder / "events.jsonl", since=stages.BEGUN if submission.joined else None)
        with progress.followed(events, journey, console.stderr(), Sites(resolved.site_names)):
            run = submission.wait(control)
    show(_result(run), run.folder, format)


def _scenario(file: Path, sets: list[str] | None, seed: int | None) -> Scenario:
    from fedcxr.scenario import Scenario
    from fedcxr.scenario.document import choose, override, read_file

    document: dict[str, Any] = choose(read_file(file), seed=seed)
    for assignment in sets or ():
        document = override(document, assignment)
    return Scenario.parse(document)


@contextmanager
def _control(kit: Path) -> Iterator[Any]:
    """The Control API of the SuperLink that was started with this kit."""
    from fedcxr.deployment.kit import AUTHORITY, read_server

    told, control = read_server(kit), importlib.import_module("server.control").Control
    with control.of(f"127.0.0.1:{told.superlink_port}", kit / AUTHORITY) as opened:
        yield opened


@runs_app.command("stop", epilog="Example: fedcxr runs stop noise-5f1d...-0 --kit kits/server")
def runs_stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="How the run is called.")], kit: KitOption
) -> None:
    """End a run that is at work on hospitals' nodes; what has arrived stays, and submitting it again goes on."""
    with _control(kit) as control:
        stopped = control.stop_all(name)
    typer.echo(f"{stopped} stopped", err=True)


def _result(run: Run) -> dict[str, Any]:
    """What became of a run that is over."""
    from fedcxr.errors import DataError

    if run.result is None:
        raise DataError("this run has no result", given=run.folder, do="submit it again")
    return run.result
