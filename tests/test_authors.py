"""What the pages for authors print as code is a contribution: all of it, as it stands there, in one small run."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedcxr.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "authors.md").read_text(encoding="utf-8")
CODE = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
CLASS = re.compile(r"^class (\w+)\(", flags=re.MULTILINE)
LONGEST = 30  # lines with something on them

*EXAMPLES, ALONE = CODE.findall(PAGE)
(METHOD,) = CODE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
FILES = {CLASS.findall(code)[0].lower(): code for code in (*EXAMPLES, METHOD)}
(COMMAND,) = re.findall(r"^fedcxr (simulate .+)$", PAGE.replace("\\\n", ""), flags=re.MULTILINE)
SECRET = "5e" * 32  # a fresh one would make other films of it every time
SMALLER = (
    *("--sites", "2", "--set", "cohort.patients=100", "--set", "cohort.size=32", "--set", "compute.precision=fp32"),
    *("--device", "cpu", "--engine", "inline", "--method", "coarse:Coarse"),
)


@pytest.fixture(scope="module", autouse=True)
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which commands are given, with a file for each example."""
    folder = tmp_path_factory.mktemp("own")
    for name, code in FILES.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.syspath_prepend(folder)
        patched.setattr(sys, "dont_write_bytecode", True)
        yield folder
    for name in FILES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def ran(saved: Path) -> tuple[dict[str, Any], str]:
    """The page's own command, made smaller, with the README's method: its result, and what it printed."""
    words = shlex.split(COMMAND.replace("--fresh-secret", f"--set secret={SECRET}"))
    done = CliRunner().invoke(app, [*words, *SMALLER], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (result,) = saved.rglob("result.json")
    return json.loads(result.read_text(encoding="utf-8")), " ".join(done.stdout.split())


def test_an_example_is_short() -> None:
    assert FILES.keys() == {"fisher", "presence", "edges", "coarse"}
    for name, code in FILES.items():
        assert len([line for line in code.splitlines() if line.strip()]) <= LONGEST, name
        assert max(map(len, code.splitlines())) <= 120, name


def test_an_adversary_and_a_question_have_their_entries(ran: tuple[dict[str, Any], str]) -> None:
    result, said = ran
    entries = {entry["question"]: entry for entry in result["privacy"]["attacks"]}
    assert entries.keys() == {"linkage", "presence:Presence"}
    for entry in entries.values():
        assert (entry["adversary"], entry["attacker"]) == ("fisher:Fisher", "fisher")
        assert 0.6 < entry["auc"]["value"] <= 1
        assert entry["control_raw_auc"] > 0.8
        assert (entry["conclusive"], entry["inconclusive_because"]) == (True, None)
        assert (entry["converged"], entry["curve"]) == (None, [])
        assert entry["seconds"] > 0
    assert 0.3 < entries["linkage"]["control_shuffled_auc"] < 0.7
    value = entries["presence:Presence"]["auc"]["value"]
    assert re.search(rf"Was this person among those .*\? AUC 95 % interval fisher:Fisher, fisher {value:.3f} ", said)


def test_a_task_has_its_figures(ran: tuple[dict[str, Any], str]) -> None:
    result, said = ran
    figures = result["utility"]["edges:Edges"]
    low, high = figures["kept"]["ci95"]
    assert figures["films"] > 10
    assert 0 < low < figures["kept"]["value"] < high < 1
    assert f"kept {figures['kept']['value']:.3f} {low:.3f} to {high:.3f}" in said
    assert said.startswith("coarse:Coarse, seed 0: 2 of 2 sites")


def test_each_is_tried_by_itself() -> None:
    tried: dict[str, Any] = {}
    exec(ALONE, tried)
    assert tried["leak"].known.shape[1:] == (32, 32)
