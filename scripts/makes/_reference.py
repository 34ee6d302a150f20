"""Pages that nobody writes, because the code says it all: commands, keys, contributions, exit codes."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import click
import typer

from fedcxr import errors, plugins
from fedcxr.cli import app, catalogue
from fedcxr.runs.study import Study
from fedcxr.scenario import schema

KINDS: Mapping[plugins.Kind, tuple[str, str, str]] = {
    "method": ("methods", "Ways of sharing", "Under `method`, or `--method NAME`."),
    "adversary": ("adversaries", "Adversaries", "Under `adversaries`, with their parameters."),
    "question": ("questions", "Questions", "What adversaries are asked: under `questions`."),
    "knowledge": ("knowledge", "What an adversary may be granted", "Under `knowledge`."),
    "task": ("tasks", "Measures of usefulness", "Under `tasks`."),
    "source": ("sources", "Where films come from", "Under `cohort`, with `source: NAME`."),
}
WIDTH = 100  # columns of a command's help


def pages() -> Iterator[tuple[str, str]]:
    """The name of each page, and its text."""
    yield "commands", _commands()
    yield "scenario", _scenario()
    for kind in get_args(plugins.Kind):
        yield KINDS[kind][0], _contributions(kind)
    yield "exit-codes", _exit_codes()


def _commands() -> str:
    shown = [f"## `{' '.join(path)}`\n\n{_block(helped)}" for path, helped in commands()]
    return _page("Commands", "Every command with all it can be told, as `--help` prints it.", *shown)


def commands() -> Iterator[tuple[tuple[str, ...], str]]:
    """Each command that does something, by the words it is typed as, with its help."""
    yield from _below(typer.main.get_command(app), click.Context(typer.main.get_command(app), info_name="fedcxr"))


def _below(command: click.Command, context: click.Context) -> Iterator[tuple[tuple[str, ...], str]]:
    context.terminal_width = context.max_content_width = WIDTH
    words = tuple(context.command_path.split())
    yield words, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _below(below, click.Context(below, info_name=name, parent=context))


def _scenario() -> str:
    return _page(
        "Scenarios and studies",
        "The keys of a scenario's file, which are those of `--set a.b=VALUE`. Whatever is not given is as the preset "
        "has it, and `scenario.yaml` in a run's folder says what that was. `fedcxr schema` prints them for editors. "
        "What a method, adversary, question, task, knowledge or source can be told stands on pages of their own.",
        "## A scenario",
        _table(catalogue.parameters(schema.json_schema())),
        "## A study",
        "Scenarios that differ in a few keys, each under several seeds.",
        _table(catalogue.parameters(Study.model_json_schema())),
    )


def _contributions(kind: plugins.Kind) -> str:
    _, title, about = KINDS[kind]
    return _page(title, about, *(_contribution(kind, name) for name in plugins.names(kind)))


def _contribution(kind: plugins.Kind, name: str) -> str:
    facts = json.loads(catalogue.entry(kind, name, "json"))
    told = [f"**{one.capitalize()}**: {_text(facts[one])}" for one in ("paper", "deviations") if facts.get(one)]
    if facts.get("equations"):
        told.append(f"**Equations**:\n\n{_block(str(facts['equations']))}")
    if kind == "method":
        told.append(f"**Formal guarantee** by default: {_guarantee(facts['guarantee'])}")
    rules = [f"- {_text(rule)}" for rule in facts.get("rules", ())]
    schema = plugins.load(kind, name).model_json_schema()
    parts = [f"## `{name}`", _text(facts["does"]), *told, "\n".join(rules), _table(catalogue.parameters(schema))]
    return "\n\n".join(part for part in parts if part)


def _guarantee(given: Mapping[str, Any] | None) -> str:
    return "none" if given is None else f"epsilon {given['epsilon']:g} per {str(given['unit']).replace('_', ' ')}"


def _table(parameters: Mapping[str, tuple[str, str, str]]) -> str:
    """Nothing, where there is nothing to be told."""
    lines = [
        f"| `{name}` | {f'`{value}`' if value else ''} | {_cell(allowed)} | {_cell(told)} |"
        for name, (value, allowed, told) in parameters.items()
    ]
    return "\n".join(["| key | default | allowed | what for |", "|---|---|---|---|", *lines]) if lines else ""


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _text(text: object) -> str:
    """As it stands: nothing of it is marking up, but what is between backticks."""
    parts = str(text).split("`")
    plain = [part if place % 2 else re.sub(r"([*_<\[\]\\$])", r"\\\1", part) for place, part in enumerate(parts)]
    return "`".join(plain)


def _exit_codes() -> str:
    tree = (inspect.getdoc(errors) or "").partition("\n\n")[2]
    return _page("Exit codes", "Every error is one line on stderr, and ends the command with its code.", _block(tree))


def _page(title: str, about: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", about, *parts)) + "\n"


def _block(text: str) -> str:
    return f"```\n{text.strip()}\n```"
