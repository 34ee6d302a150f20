"""What the commands say of themselves: whole sentences in plain text, their version, where an error came from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

import fedcxr
from fedcxr.cli import app

WIDTH = 80  # columns of an ordinary terminal


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """A command and all below it, each in its context."""
    yield context
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, click.Context(below, context, name, terminal_width=WIDTH))


ROOT = typer.main.get_command(app)
CONTEXTS = list(commands(ROOT, click.Context(ROOT, info_name="fedcxr", terminal_width=WIDTH)))


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)} | variables
    command = [sys.executable, "-m", "fedcxr.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_help_is_plain_and_whole(context: click.Context) -> None:
    said = context.command.get_help(context)
    assert "\\" not in said
    words = " ".join(said.split())
    for below in getattr(context.command, "commands", {}).values():
        assert below.help.split(".")[0].strip() in words
    for parameter in context.command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} is not explained"


def test_the_version_is_told_with_the_name() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"fedcxr {fedcxr.__version__}\n", "")


def test_debug_adds_where_an_error_came_from_and_keeps_its_exit_code(tmp_path: Path) -> None:
    wrong = ("simulate", str(tmp_path / "no-such.yaml"))
    short, long = run(*wrong), run(*wrong, "--debug")
    assert short.returncode == long.returncode == 2
    assert "Traceback" not in short.stderr
    assert "Traceback" in long.stderr
    assert long.stderr.endswith(short.stderr)


def test_a_shell_completes_commands() -> None:
    typed = {"COMP_WORDS": "fedcxr sim", "COMP_CWORD": "1", "_FEDCXR_COMPLETE": "complete_bash"}
    assert run(**typed).stdout.split() == ["simulate"]
