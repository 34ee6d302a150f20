"""The commands. Whatever takes time to import is imported by the command that needs it, so that --help is instant."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import click
import typer

from fedcxr import __version__
from fedcxr.cli.artefacts import artefacts_app
from fedcxr.cli.audit import audit
from fedcxr.cli.data import data_app
from fedcxr.cli.deployment import provision
from fedcxr.cli.help import App
from fedcxr.cli.keys import keys_app
from fedcxr.cli.nodes import server_app, submit
from fedcxr.cli.options import Device, Engine, Format, FormatOption, Preset, Sets
from fedcxr.cli.preflight import doctor, preflight
from fedcxr.cli.report import report
from fedcxr.cli.runs import runs_app
from fedcxr.cli.site import site_app
from fedcxr.cli.study import study
from fedcxr.errors import ConfigError, FedcxrError, Interrupted, place
from fedcxr.plugins import Kind
from fedcxr.storage.private import nothing_for_others

app = App(
    name="fedcxr",
    help="Find out how useful shared chest X-rays would be, and who could be re-identified from them.",
)
app.add_typer(data_app, name="data")
app.add_typer(keys_app, name="keys")
app.add_typer(server_app, name="server")
app.add_typer(runs_app, name="runs")
app.add_typer(site_app, name="site")
app.add_typer(artefacts_app, name="artefacts")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedcxr {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print name and version, and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from; may stand anywhere in a command.")
    ] = False,
) -> None:
    """What every command takes; `main` has taken --debug away before a command is read."""


@app.command(epilog="Example: fedcxr simulate --sites 5 --method noise --set method.scale=0.1")
def simulate(
    scenario: Annotated[
        Path | None, typer.Argument(metavar="[SCENARIO.yaml]", help="What to run; flags override it.")
    ] = None,
    sites: Annotated[int | None, typer.Option(help="Number of hospitals.")] = None,
    method: Annotated[str | None, typer.Option(help="Way of sharing; see `fedcxr methods`.")] = None,
    sets: Sets = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random stream.")] = None,
    fresh_secret: Annotated[
        bool, typer.Option("--fresh-secret", help="Draw the secret that an adversary from outside must not guess.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="Flower on Ray, or in this process.")] = Engine.ray,
    preset: Annotated[Preset | None, typer.Option(help="Sizes and budgets.")] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="X", help="Adversaries may train X times as long before they stop rising.")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where networks run.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders go.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier attempt stopped.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 6 if an attack's control failed.")] = False,
    ray_address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Use a Ray cluster that runs.")] = None,
    format: FormatOption = Format.text,
) -> None:
    """Simulate one sharing arrangement: sites release, the server trains, the adversary attacks."""
    from fedcxr.cli import console, progress
    from fedcxr.cli.journey import Journey
    from fedcxr.orders import Order, Wishes, demand_controls
    from fedcxr.scenario.document import read_file

    chosen = (preset and preset.value, device and device.value)
    wishes = Wishes(sites, method, seed, *chosen, tuple(sets or ()), fresh_secret, budget)
    resolved = wishes.scenario(read_file(scenario) if scenario else {}, resume=resume)
    order = Order(resolved, out, engine.value, resume, ray_address)
    if order.lost:
        typer.echo(order.lost, err=True)
    journey = Journey(order.planned, learns=resolved.method.learning is not None)
    with progress.followed(progress.Tail(order.run.folder / "events.jsonl"), journey, console.stderr()):
        run = order.conducted()
    result = run.result
    assert result is not None
    if format is Format.json:
        typer.echo(json.dumps(result, indent=1))
    else:
        console.summary(result, run.folder, console.stdout())
    if strict:
        demand_controls(result)


app.command(epilog="Example: fedcxr study configs/studies/noise.yaml --out runs --resume")(study)
app.command(epilog="Example: fedcxr report runs/sharing-policies --open")(report)
app.command(epilog="Example: fedcxr audit --original films --released anonymised --table films.csv")(audit)
app.command(epilog="Example: fedcxr submit scenario.yaml --kit kits/server")(submit)
app.command(epilog="Example: fedcxr provision configs/deploy/consortium.yaml --out kits")(provision)
app.command(epilog="Example: fedcxr preflight /var/lib/fedcxr/kit")(preflight)
app.command(epilog="Example: fedcxr doctor")(doctor)


Name = Annotated[
    str | None, typer.Argument(help="One of them, or my_module:MyClass of your own, with all it can be told.")
]


@app.command(epilog="Example: fedcxr methods noise")
def methods(name: Name = None, format: FormatOption = Format.text) -> None:
    """List the ways of sharing."""
    _catalogue("method", name, format)


@app.command(epilog="Example: fedcxr adversaries verifier")
def adversaries(name: Name = None, format: FormatOption = Format.text) -> None:
    """List the adversaries."""
    _catalogue("adversary", name, format)


@app.command(epilog="Example: fedcxr questions linkage")
def questions(name: Name = None, format: FormatOption = Format.text) -> None:
    """List what adversaries are asked."""
    _catalogue("question", name, format)


@app.command(epilog="Example: fedcxr knowledge known_films")
def knowledge(name: Name = None, format: FormatOption = Format.text) -> None:
    """List what an adversary may be granted."""
    _catalogue("knowledge", name, format)


@app.command(epilog="Example: fedcxr tasks findings")
def tasks(name: Name = None, format: FormatOption = Format.text) -> None:
    """List the measures of utility."""
    _catalogue("task", name, format)


def _catalogue(kind: Kind, name: str | None, format: Format) -> None:
    from fedcxr.cli import catalogue

    typer.echo(catalogue.listing(kind, format.value) if name is None else catalogue.entry(kind, name, format.value))


@app.command(epilog="Example: fedcxr schema > scenario.schema.json")
def schema(
    studies: Annotated[bool, typer.Option("--study", help="Of studies, in which scenarios are parts.")] = False,
) -> None:
    """Print the JSON schema of scenarios, or of studies, for editors."""
    from fedcxr.runs.study import json_schema as of_studies
    from fedcxr.scenario.schema import json_schema

    typer.echo(json.dumps(of_studies() if studies else json_schema(), indent=1))


def process() -> NoReturn:
    """`main` as all there is to this process, which is over with it.

    Where a command is not done, threads may be deep in torch: at a training that nobody waits for any more, or at a
    site whose time is over. If Python took itself down around them, C++ would abort it, with an exit code of its own.
    """
    code = _conducted()
    if code == 0:
        sys.exit()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more, or the disk is full
        code = code or 1
    os._exit(code)


def main() -> None:
    """The command: every error a user can meet ends in one line and its exit code."""
    sys.exit(_conducted())


def _conducted() -> int:
    stopped = _Stopped.listening()
    nothing_for_others()
    # What we start, and what Python starts for us, imports nothing from the folder we are in: others may write there.
    os.environ["PYTHONSAFEPATH"] = "1"
    debug = "--debug" in sys.argv[1:]
    try:
        code = app([a for a in sys.argv[1:] if a != "--debug"], prog_name="fedcxr", standalone_mode=False)
        if code == Interrupted.exit_code:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
    except (KeyboardInterrupt, click.Abort):
        code = _failed(_interrupted())
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        typer.echo(help_wanted.format_message(), err=True)
        code = help_wanted.exit_code
    except click.ClickException as wrong:
        code = _failed(ConfigError(wrong.format_message().rstrip(".").replace("\n", " "), do="see --help"))
    except FedcxrError as error:
        code = _failed(error, debug)
    # A bug of ours or of a plug-in. A person gets one line, a developer asks for more.
    except Exception as error:
        what = f"{type(error).__name__}: {error} ({place(error)})"
        bug = FedcxrError(what, do="a bug of ours, or of a contribution; --debug shows the way there")
        code = _failed(_interrupted() if stopped.came else bug, debug)
    return int(code or 0)


class _Stopped:
    """Ctrl-C, a polite kill and a terminal that closes, all of which clean up.

    They are remembered, as some libraries make an error of their own of them.

    A second one, while that is under way, ends at once.
    """

    came = False

    @classmethod
    def listening(cls) -> _Stopped:
        stopped = cls()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's `&`
                signal.signal(number, stopped._stop)
        return stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            os._exit(Interrupted.exit_code)
        self.came = True
        raise KeyboardInterrupt


def _interrupted() -> Interrupted:
    resumable = sys.argv[1:2] in (["simulate"], ["study"])
    return Interrupted("interrupted", do="the same command with --resume goes on from here" if resumable else None)


def _failed(error: FedcxrError, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    line = " ".join(str(error).split())
    typer.echo(f"error: {line}", err=True)
    return error.exit_code
