"""Whatever a page says can be typed is a command that exists, with options it has; and the pages make a site."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from fedcxr.cli import app
from fedcxr.runs.study import Study
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import read_file

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.M | re.S)


def typed(text: str) -> Iterator[str]:
    """The commands of a page's blocks, each in one line, and those that stand by themselves between backticks."""
    prose = FENCED.sub("", text)
    blocks = [line for block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*blocks, *re.findall(r"`((?:scripts/)?fedcxr [a-z][^`]*)`", prose)]:
        words = shlex.split(line, comments=True) if re.match(r"([A-Z_]+=\S+ )*(scripts/)?fedcxr [a-z]", line) else []
        while words and "=" in words[0]:
            words.pop(0)
        if ">" in words:
            words = words[: words.index(">")]
        if words:
            yield shlex.join(_told(word) for word in words[1:])


def _told(word: str) -> str:
    """Without the signs that it may be left out, and the first where there is a choice."""
    word = word.removeprefix("[") if word.startswith("[-") else word
    word = word.removesuffix("]") if "[" not in word else word
    return re.sub(r"^(-*[A-Za-z-]+)\|.*", r"\1", word)


COMMANDS = sorted({command for page in PAGES for command in typed(page.read_text())})


def parsed(words: list[str]) -> click.Context:
    """As far as the command is about to do something."""
    command: click.Command = typer.main.get_command(app)
    context = command.make_context("fedcxr", list(words))
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        context = found.make_context(name, list(rest), parent=context)
        command = found
    return context


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_a_page_shows_exists_and_is_told_nothing_it_does_not_know(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    try:
        context = parsed(words)
    except click.exceptions.NoArgsIsHelpError:
        return
    except click.MissingParameter:  # `fedcxr audit` in the middle of a sentence
        assert len(words) <= 3
        return
    configured = [word for word in words if word.startswith("configs/") and (ROOT / word).suffix == ".yaml"]
    for file in configured:
        assert (ROOT / file).is_file()
    if context.command.name == "study" and configured:
        Study.read(ROOT / configured[0])
    if context.command.name == "simulate" and configured:
        Scenario.parse(read_file(ROOT / configured[0]))


@pytest.mark.slow
def test_the_pages_make_a_site_in_which_no_link_is_broken_and_which_asks_nobody_for_anything(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "makes" / "docs.py"), "--out", str(tmp_path / "site")]
    made = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "site" / "index.html").is_file()
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//[^"]*"', page.read_text())
        assert not [one for one in fetched if 'rel="canonical"' not in one], page
