"""What the README says can be typed works as printed, here with smaller budgets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import fedcxr
from fedcxr.scenario import Scenario
from fedcxr.scenario.document import override

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
TYPED = re.findall(r"^`?\*?`?((?:scripts/)?fedcxr [^`#>\n]+)", README, flags=re.MULTILINE)
COMMANDS = [command.strip() for command in TYPED if "/data/" not in command]  # where we have no films

FEW_FILMS = [
    *("--set", "cohort.patients=100", "--set", "cohort.size=32"),
    *("--set", "tasks.findings.steps=8", "--set", "tasks.findings.width=4"),
]
SMALLER = [
    *FEW_FILMS,
    *("--set", "adversaries.verifier.steps_clean=8", "--set", "adversaries.verifier.steps_retrain=8"),
    *("--set", "adversaries.verifier.width=4", "--set", "adversaries.verifier.attackers=[naive, retrained]"),
]


RAY = ["simulate", "--sites", "5", "--method", "noise"]  # the one command that is run on Ray, which takes longer
OF_A_MODEL = [  # where a model is shared, and no film
    *FEW_FILMS,
    *("--set", "method.rounds=2", "--set", "method.steps=2", "--set", "method.width=4", "--set", "method.batch=8"),
    *("--set", "adversaries.membership.shadows=2"),
]
IN_ONE_PROCESS = ("--engine", "inline")
HARDLY_LEARNING = [f"--set=method.{stage}=2" for stage in ("steps", "steps_classifier", "steps_verifier")]


def smaller_study(file: Path, folder: Path) -> Path:
    """The same study of its first two cases and one seed, with smaller budgets."""
    study = yaml.safe_load(file.read_text())
    for value in SMALLER[1::2]:
        study["scenario"] = override(study["scenario"], value)
    path = folder / "smaller.yaml"
    path.write_text(yaml.safe_dump({**study, "cases": study["cases"][:2], "seeds": [0]}))
    return path


def run(arguments: list[str], cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(cwd)])}
    command = [sys.executable, "-m", "fedcxr.cli", *arguments]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) >= 6
    # The first makes the environment in which all others are typed as they are printed.
    first, *others = COMMANDS
    assert first == "scripts/fedcxr simulate --sites 5 --method noise"
    assert all(command.startswith("fedcxr ") for command in others)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_printed(command: str, tmp_path: Path) -> None:
    words = [str(ROOT / w) if w.startswith("configs/") else w for w in shlex.split(command)[1:]]
    if words[0] == "study":
        said = run(["study", str(smaller_study(Path(words[1]), tmp_path)), *words[2:], *IN_ONE_PROCESS], tmp_path)
        assert "\nnone" in said
        return
    if words[0] != "simulate":
        assert run(words, tmp_path)
        return
    hardly_learning = HARDLY_LEARNING if "prichexy_net" in words else ()
    elsewhere = () if words == RAY else IN_ONE_PROCESS
    shares_a_model = not {"fedavg", "dp_sgd"}.isdisjoint(words)
    smaller = OF_A_MODEL if shares_a_model else SMALLER
    said = run([*words, *smaller, *hardly_learning, *elsewhere, "--out", str(tmp_path)], tmp_path)
    assert "How useful" in said
    assert ("Whose films a model was learnt from" if shares_a_model else "Who can be re-identified") in said


@pytest.mark.parametrize("config", sorted((ROOT / "configs" / "scenarios").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_config_says_what_it_shows_and_is_valid(config: Path) -> None:
    lines = config.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert "Expect:" in lines[1]
    assert Scenario.parse(yaml.safe_load(config.read_text())).name == config.stem


def test_the_version_is_one() -> None:
    assert f'version = "{fedcxr.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {fedcxr.__version__}" in (ROOT / "CHANGELOG.md").read_text()
