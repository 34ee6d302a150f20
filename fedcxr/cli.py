"""The commands. Whatever takes time to import is imported by the command that needs it, so that --help is instant."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from fedcxr.errors import ConfigError, ControlFailed, FedcxrError, Interrupted
from fedcxr.plugins import Kind

app = typer.Typer(
    name="fedcxr",
    help="Find out how useful shared chest X-rays would be, and who could be re-identified from them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at cohorts.", no_args_is_help=True)
app.add_typer(data_app, name="data")


class Format(StrEnum):
    """For whom output is."""

    text = "text"
    json = "json"


class Engine(StrEnum):
    """What runs the sites."""

    ray = "ray"
    inline = "inline"


class Preset(StrEnum):
    """How much of everything."""

    quick = "quick"
    default = "default"
    paper = "paper"


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Sets = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=VALUE", help="Override any key of the scenario.")]
FormatOption = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON document on stdout.")]


@app.command(epilog="Example: fedcxr simulate --sites 5 --method noise --set method.scale=0.1")
def simulate(
    scenario: Annotated[
        Path | None, typer.Argument(metavar="[SCENARIO.yaml]", help="What to run; flags override it.")
    ] = None,
    sites: Annotated[int | None, typer.Option(help="Number of hospitals.")] = None,
    method: Annotated[str | None, typer.Option(help="Way of sharing; see `fedcxr methods`.")] = None,
    sets: Sets = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random stream.")] = None,
    engine: Annotated[Engine, typer.Option(help="Flower on Ray, or in this process.")] = Engine.ray,
    preset: Annotated[Preset | None, typer.Option(help="Sizes and budgets.")] = None,
    device: Annotated[Device | None, typer.Option(help="Where networks run.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where run folders go.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier attempt stopped.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 6 if an attack's control failed.")] = False,
    ray_address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Use a Ray cluster that runs.")] = None,
    format: FormatOption = Format.text,
) -> None:
    """Simulate one sharing arrangement: sites release, the server trains, the adversary attacks."""
    from fedcxr import console
    from fedcxr.runs import Run
    from fedcxr.scenario import Scenario, choose, override, read_file

    document: dict[str, Any] = read_file(scenario) if scenario else {}
    if ray_address and engine is not Engine.ray:
        raise ConfigError("--ray-address needs the engine ray", given=f"--engine {engine}")
    document = choose(document, sites=sites, method=method, seed=seed, preset=preset and preset.value)
    if device is not None:
        document = override(document, f"compute.device={device.value}")
    for assignment in sets or ():
        document = override(document, assignment)
    resolved = Scenario.parse(document)
    simulate_module = importlib.import_module("server.simulate")  # by name: the library does not know the server
    options = simulate_module.Options(out, engine.value, resume, ray_address)
    run = Run.place(out, resolved)
    screen = console.stderr()
    with console.followed(run.folder / "events.jsonl", screen):
        run = simulate_module.simulate(resolved, options)
    result = run.result
    assert result is not None
    if format is Format.json:
        typer.echo(json.dumps(result, indent=1))
    else:
        console.summary(result, run.folder, console.stdout())
    failed = [a for a in result["privacy"]["attacks"] if not a["conclusive"]]
    if strict and failed:
        raise ControlFailed(
            "an attack's control failed, so its figure proves nothing",
            given="; ".join(f"{a['adversary']} {a['attacker']}: {a['inconclusive_because']}" for a in failed),
            do="train longer (--preset default), or use more patients",
        )


@data_app.command("show", epilog="Example: fedcxr data show --source phantom --out phantom.png")
def data_show(
    source: Annotated[str, typer.Option(help="Where the films come from.")] = "phantom",
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of the source.")] = None,
    films: Annotated[int, typer.Option(min=1, max=400, help="How many films to show.")] = 30,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture to write.")] = Path("films.png"),
) -> None:
    """Draw a contact sheet of a cohort: films of one patient side by side, findings below."""
    from fedcxr import scenario
    from fedcxr.data import cache_folder
    from fedcxr.pictures import contact_sheet
    from fedcxr.runs import explained

    cohort = scenario.source(source, sets or ()).open(cache_folder(), workers=len(os.sched_getaffinity(0)))
    picture = contact_sheet(cohort, films)
    with explained(out):
        picture.save(out)
    typer.echo(
        f"{out}: {min(films, len(cohort))} of {len(cohort)} films of {cohort.index['patient'].nunique()} patients"
    )


Name = Annotated[str | None, typer.Argument(help="One of them, with all it can be told.")]


@app.command(epilog="Example: fedcxr methods noise")
def methods(name: Name = None, format: FormatOption = Format.text) -> None:
    """List the ways of sharing."""
    _catalogue("method", name, format)


@app.command(epilog="Example: fedcxr adversaries verifier")
def adversaries(name: Name = None, format: FormatOption = Format.text) -> None:
    """List the adversaries."""
    _catalogue("adversary", name, format)


@app.command(epilog="Example: fedcxr tasks findings")
def tasks(name: Name = None, format: FormatOption = Format.text) -> None:
    """List the measures of utility."""
    _catalogue("task", name, format)


def _catalogue(kind: Kind, name: str | None, format: Format) -> None:
    from fedcxr import catalogue

    typer.echo(catalogue.listing(kind, format.value) if name is None else catalogue.entry(kind, name, format.value))


@app.command(epilog="Example: fedcxr schema > scenario.schema.json")
def schema() -> None:
    """Print the JSON schema of scenarios, for editors."""
    from fedcxr.scenario import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def main() -> None:
    """The console script: every error a user can meet ends in one line and its exit code."""
    debug = "--debug" in sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up as Ctrl-C does
    try:
        code = app([a for a in sys.argv[1:] if a != "--debug"], standalone_mode=False)
        if code == Interrupted.exit_code:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
    except (KeyboardInterrupt, click.Abort):
        code = _failed(Interrupted("interrupted", do="the same command with --resume goes on from here"))
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        typer.echo(help_wanted.format_message(), err=True)
        code = help_wanted.exit_code
    except click.ClickException as wrong:
        code = _failed(ConfigError(wrong.format_message().rstrip(".").replace("\n", " "), do="see --help"))
    except FedcxrError as error:
        if debug:
            raise
        code = _failed(error)
    # A bug of ours or of a plug-in. A person gets one line, a developer asks for more.
    except Exception as error:
        if debug:
            raise
        code = _failed(FedcxrError(f"{type(error).__name__}: {error}", do="this is a bug; --debug shows where"))
    sys.exit(code)


def _failed(error: FedcxrError) -> int:
    line = " ".join(str(error).split())
    typer.echo(f"error: {line}", err=True)
    return error.exit_code


if __name__ == "__main__":
    main()
