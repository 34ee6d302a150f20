"""Pages that nobody writes, because the code says it all: commands, keys, contributions, results, exit codes."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

import click
import pydantic
import typer

from fedcxr import errors, plugins
from fedcxr.cli import app, catalogue
from fedcxr.report import _shape
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
NAMES = {str: "text", bool: "true or false", int: "number", float: "number"}
WIDTH = 100  # columns of a command's help


def pages() -> Iterator[tuple[str, str]]:
    """The name of each page, and its text."""
    yield "commands", _commands()
    yield "scenario", _scenario()
    for kind in get_args(plugins.Kind):
        yield KINDS[kind][0], _contributions(kind)
    yield "result", _result()
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
        _parameters(schema.json_schema()),
        "## A study",
        "Scenarios that differ in a few keys, each under several seeds.",
        _parameters(Study.model_json_schema()),
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
    parts = [f"## `{name}`", _text(facts["does"]), *told, "\n".join(rules), _parameters(schema)]
    return "\n\n".join(part for part in parts if part)


def _guarantee(given: Mapping[str, Any] | None) -> str:
    return "none" if given is None else f"epsilon {given['epsilon']:g} per {str(given['unit']).replace('_', ' ')}"


def _parameters(schema: Mapping[str, Any]) -> str:
    """Nothing, where there is nothing to be told."""
    told = catalogue.parameters(schema)
    rows = [
        (name, f"`{value}`" if value else "", _text(allowed), _text(what))
        for name, (value, allowed, what) in told.items()
    ]
    return _table(("key", "default", "allowed", "what for"), rows) if rows else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| `{name}` | {' | '.join(map(_cell, cells))} |" for name, *cells in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: object) -> str:
    """As it stands: nothing of it is marking up, but what is between backticks."""
    parts = str(text).split("`")
    plain = [part if place % 2 else re.sub(r"([*_<\[\]\\$])", r"\\\1", part) for place, part in enumerate(parts)]
    return "`".join(plain)


def _result() -> str:
    every: list[type[pydantic.BaseModel]] = [_shape.Result, *_reached(_shape.Result)]
    parts = dict.fromkeys(every)
    return _page(
        "What a run leaves in result.json",
        "The parts that reports are read from; more stands beside them. Each part once, whoever holds it.",
        *(f"## {part.__name__}\n\n{_text(inspect.getdoc(part))}\n\n{_part(part)}" for part in parts),
    )


def _reached(part: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    """What it holds, and what that holds."""
    for field in part.model_fields.values():
        held = _kind(field.annotation)[1]
        if held is not None:
            yield held
            yield from _reached(held)


def _part(part: type[pydantic.BaseModel]) -> str:
    rows = [
        (name, _kind(field.annotation)[0], _text(field.description or "")) for name, field in part.model_fields.items()
    ]
    return _table(("field", "holds", "what it says"), rows)


def _kind(told: Any) -> tuple[str, type[pydantic.BaseModel] | None]:
    """In a few words what a type is, and the part that it holds."""
    if get_origin(told) is tuple:
        word, held = _kind(get_args(told)[0])
        return f"list of {word}", held
    if get_origin(told) is dict:
        word, held = _kind(get_args(told)[1])
        return f"by name, {word}", held
    if get_args(told):  # or null
        word, held = _kind(get_args(told)[0])
        return (f"{word} or null" if type(None) in get_args(told) else word), held
    if isinstance(told, type) and issubclass(told, pydantic.BaseModel):
        return f"[{told.__name__}](#{told.__name__.lower()})", told
    return NAMES.get(told, "anything"), None


def _exit_codes() -> str:
    tree = (inspect.getdoc(errors) or "").partition("\n\n")[2]
    return _page("Exit codes", "Every error is one line on stderr, and ends the command with its code.", _block(tree))


def _page(title: str, about: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", about, *parts)) + "\n"


def _block(text: str) -> str:
    return f"```\n{text.strip()}\n```"
