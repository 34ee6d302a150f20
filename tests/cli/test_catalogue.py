"""What the listing commands say of every plug-in of a folder, and of one of them."""

from __future__ import annotations

import json
from typing import get_args

import pytest
import typer.testing

from fedcxr import plugins
from fedcxr.cli import app
from fedcxr.errors import UnknownName

COMMANDS = {
    "methods": "method",
    "adversaries": "adversary",
    "questions": "question",
    "tasks": "task",
    "knowledge": "knowledge",
}
KINDS: dict[str, plugins.Kind] = {kind: kind for kind in get_args(plugins.Kind)}


def said(*arguments: str) -> str:
    done = typer.testing.CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_every_kind_but_sources_has_a_command() -> None:
    """Sources are listed with what else is done with films."""
    assert {*COMMANDS.values(), "source"} == {*get_args(plugins.Kind)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_lists_its_folder_with_a_sentence_on_each(command: str) -> None:
    names = plugins.names(KINDS[COMMANDS[command]])
    lines = said(command).splitlines()
    assert [line.split()[0] for line in lines] == list(names)
    told = json.loads(said(command, "--format", "json"))
    for name, line in zip(names, lines, strict=True):
        assert told[name]
        assert told[name][-1] in ".?"
        assert line.endswith(told[name])


@pytest.mark.parametrize(
    ("command", "name", "parameter"),
    [("questions", "linkage", None), ("knowledge", "pairs", "most"), ("knowledge", "keys", "sites")],
)
def test_one_of_them_is_told_with_its_parameters(command: str, name: str, parameter: str | None) -> None:
    told = json.loads(said(command, name, "--format", "json"))
    assert told["name"] == name
    assert list(told["parameters"]) == ([parameter] if parameter else [])
    lines = said(command, name).splitlines()
    assert lines[0].startswith(f"{name}: ")
    if parameter:
        assert lines[-1].lstrip().startswith(f"{parameter} = ")
        assert told["parameters"][parameter]["description"] in lines[-1]


def test_a_question_says_by_what_rules_its_entries_are_judged() -> None:
    rules = json.loads(said("questions", "linkage", "--format", "json"))["rules"]
    assert [rule.split(":")[0] for rule in rules] == ["converged", "trust", "smallest_auc"]
    assert set(rules) <= set(said("questions", "linkage").splitlines())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_none_names_those_there_are(command: str) -> None:
    with pytest.raises(UnknownName) as caught:
        said(command, "no_such_name")
    assert plugins.names(KINDS[COMMANDS[command]])[0] in str(caught.value)
