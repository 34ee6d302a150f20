"""Whatever a page says can be typed is a command that exists, with options it has, and works where it costs little.

And the pages make a site.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml
from nodes import card_in
from runs_by_hand import compared, row
from small import SMALL
from typer.testing import CliRunner

import fedcxr
from fedcxr.cli import app
from fedcxr.runs.study import Study
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import read_file
from sites.encrypted_file import Cost
from sites.vault import Vault

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


PYTHON = re.compile(r"```python\n(.*?)```", re.S)
AUTHORS = (ROOT / "docs" / "authors.md").read_text()
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


# Commands that are run ------------------------------------------------------------------------------------------------

# What pages call things, and what that is where their commands are run; all else is there under its own name.
MEANT = {
    "RUN": "runs/sharing-policies/noise-be54737b-0",
    "runs/NAME/METHOD-FINGERPRINT-SEED": "runs/sharing-policies/noise-be54737b-0",
    "DIR": "events",
    "FILE": "configs/studies/noise.yaml",
    "--profile FILE": "--profile hospital.yaml",
    "/etc/fedcxr/hospital.yaml": "hospital.yaml",
    "adversaries NAME": "adversaries verifier",
    "questions NAME": "questions linkage",
    "data sources '[NAME]'": "data sources phantom",
}
CHEAP = (
    *("adversaries", "methods", "questions", "tasks", "data sources", "schema", "doctor", "artefacts list"),
    *("runs list", "runs show", "runs compare", "runs diff", "report", "keys show"),
)
DRY = "--dry-run"  # of a study
NOT_RUN = {
    "simulate": "takes minutes to hours; README's are run (tests/test_readme.py), and those for authors",
    "study": "takes hours, unless it is --dry-run",
    "audit": "needs a hospital's films",
    "data check": "needs a hospital's films",
    "data show": "needs a hospital's films",
    "data shard": "needs a hospital's films",
    "artefacts clear": "deletes what runs share",
    **dict.fromkeys(
        (
            *("keys accept", "keys accept-restored", "keys convert", "keys grant", "keys init", "keys open"),
            *("keys passphrase", "keys revoke", "keys rotate"),
        ),
        "changes a key ring, or opens what was sent (tests/cli/test_keys.py, test_keys_restored.py)",
    ),
    "provision": "needs a consortium",
    "site start": "is a node, and does not end",
    "site ledger": "needs a node's journal (tests/sites/test_journal.py)",
}


def kind(command: str) -> str | None:
    """Under which of these it falls; None: it is run."""
    words = command.split()
    named = next(
        (name for name in sorted(NOT_RUN, key=len, reverse=True) if words[: len(name.split())] == name.split()), None
    )
    return None if named == "study" and DRY in words else named


def whole_command(command: str) -> bool:
    """Not its name alone, in the middle of a sentence."""
    try:
        parsed(shlex.split(command))
    except click.MissingParameter:
        return False
    return True


RUN = [command for command in COMMANDS if kind(command) is None and whole_command(command)]


def meant(command: str) -> list[str]:
    for called, place in sorted(MEANT.items(), key=lambda pair: -len(pair[0])):  # a FILE may be a profile
        command = re.sub(rf"(?<!\S){re.escape(called)}(?!\S)", place, command)
    return shlex.split(command)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A folder with what the pages speak of: runs, a study, runs at hospitals, a key ring, an adversary."""
    scenario = {key: SMALL[key] for key in ("sites", "cohort", "method", "compute")} | {"adversaries": {}}
    scenario["tasks"] = {"fidelity": {}, "texture": {"where": "film", "bootstraps": 10}}
    made = fedcxr.simulate(scenario, out=tmp_path / "made", engine="inline", progress=False)
    study = tmp_path / "runs" / "sharing-policies"
    names = ("noise-be54737b-0", "noise-be54737b-1", "none-c917e661-0")
    noise, again, films = (Path(shutil.copytree(made.folder, study / name)) for name in names)
    compared(study, [row([films], "films as they are", False), row([noise, again], "noise", True)])
    shutil.copytree(made.folder, tmp_path / "kits" / "server" / "runs" / "spring" / "noise-0123abcd-0")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "fisher.py").write_text(next(code for code in PYTHON.findall(AUTHORS) if "class Fisher(" in code))
    for name, text in (("words", "correct horse battery staple"), ("hospital.yaml", "")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    with Vault.create(tmp_path / "vault", "mercy", (tmp_path / "words").read_bytes(), Cost(log_n=4)):
        pass
    own: dict[str, Any] = {
        "site": "mercy",
        "vault": str(tmp_path / "vault"),
        "coordinator": card_in(tmp_path),
        "cohort": "phantom",
    }
    own["budget"] = {"privacy": {"unit": "patient", "epsilon": 8.0, "delta": 1e-5}}
    (tmp_path / "hospital.yaml").write_text(yaml.safe_dump(own))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FEDCXR_PASSPHRASE_FILE", str(tmp_path / "words"))
        patched.setenv("FEDCXR_VAULT", str(tmp_path / "vault"))
        patched.setattr("webbrowser.open", lambda page: True)
        patched.syspath_prepend(tmp_path)
        patched.chdir(tmp_path)
        yield tmp_path


def test_every_kind_of_command_is_run_or_it_is_said_why_not() -> None:
    assert {name for name in CHEAP if not any(command.startswith(name) for command in RUN)} == set()
    assert [command for command in RUN if not command.startswith(CHEAP) and DRY not in command] == []
    assert {name for name in NOT_RUN if name not in map(kind, COMMANDS)} == set()


def wrong(command: str) -> str:
    """What is wrong with a command as it is shown; nothing if it ends well, says something and complains of nothing."""
    done = CliRunner().invoke(app, meant(command), standalone_mode=False)
    # Where a report lies is no part of what it says.
    place = r"(\S+/report\.html\n(events: \d runs; tensorboard --logdir events\n)?)?"
    if done.exit_code == 0 and done.stdout and re.fullmatch(place, done.stderr):
        return ""
    return f"{done.exit_code}: {done.exception}; {done.stderr}"


@pytest.mark.usefixtures("here")
def test_commands_that_cost_little_work_as_pages_show_them() -> None:
    assert {command: said for command in RUN if (said := wrong(command))} == {}


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
