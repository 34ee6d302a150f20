"""What an installation brings: all that is imported, nothing else, and a library that works without the frameworks."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
SHIPPED = ("fedcxr", "sites", "server")


def distributions(requirements: Iterable[str]) -> set[str]:
    """Their names, and those behind extras of our own: `fedcxr[dicom]` is pydicom and pyjpegls."""
    found: set[str] = set()
    for requirement in requirements:
        name, extras = re.fullmatch(r"([\w.-]+)(?:\[([\w,-]+)\])?.*", requirement).groups()  # type: ignore[union-attr]
        if name == "fedcxr":
            found |= distributions(one for extra in extras.split(",") for one in EXTRAS[extra])
        else:
            found.add(name.lower())
    return found


def imported(folders: Iterable[str]) -> dict[str, set[str]]:
    """The third-party modules that Python files of these folders import, each with the distributions it may be from."""
    names: set[str] = set()
    own = {path.stem for path in ROOT.glob("*/")} | {path.stem for path in ROOT.glob("[st]*/**/*.py")}
    for path in [path for folder in folders for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).split(".")[0])
    providers = importlib.metadata.packages_distributions()
    foreign = names - own - sys.stdlib_module_names
    return {name: {provider.lower() for provider in providers.get(name, [name])} for name in foreign}


def test_what_is_installed_is_imported() -> None:
    needed = set[str]().union(*imported(SHIPPED).values())
    assert distributions(PROJECT["dependencies"]) <= needed


def test_what_is_imported_is_installed_or_an_extra() -> None:
    users = distributions(
        [*PROJECT["dependencies"], *(one for name in EXTRAS if name != "dev" for one in EXTRAS[name])]
    )
    assert {name: of for name, of in imported(SHIPPED).items() if not of & users} == {}
    developers = distributions([*PROJECT["dependencies"], *EXTRAS["dev"]])
    assert {name: of for name, of in imported(["scripts", "tests"]).items() if not of & developers} == {}


def test_the_walk_finds_imports() -> None:
    assert {"torch", "flwr", "sklearn", "pydicom"} <= imported(SHIPPED).keys()
    assert {"pytest", "matplotlib"} <= imported(["scripts", "tests"]).keys()


def test_every_direct_requirement_has_a_tested_version() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = distributions([*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)])
    assert wanted <= pinned


def test_the_extra_for_simulations_brings_what_an_ordinary_installation_does() -> None:
    assert set(EXTRAS["simulation"]) == {one for one in PROJECT["dependencies"] if one.startswith("flwr")}


# Without the frameworks -----------------------------------------------------------------------------------------------

BARE = "import sys\nsys.modules.update(flwr=None, ray=None)\nfrom fedcxr.cli import main\nmain()\n"


def bare(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command where neither Flower nor Ray is installed."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BARE, *arguments],
        env={"PYTHONPATH": str(ROOT), "FEDCXR_CACHE": str(cwd / "cache"), "PATH": "/usr/bin:/bin"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "methods sca",
        "tasks findings",
        "adversaries verifier",
        "schema",
        "data check --set patients=4 --set size=32 --workers 1",
    ],
)
def test_the_library_alone_works(command: str, tmp_path: Path) -> None:
    done = bare(*command.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("engine", ["inline", "ray"])
def test_a_simulation_says_which_line_installs_what_it_needs(engine: str, tmp_path: Path) -> None:
    done = bare("simulate", "--sites", "2", "--engine", engine, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: simulate needs Flower and Ray; given: no flwr")
    assert line.endswith('; pip install "fedcxr[simulation]"')
    assert not list(tmp_path.iterdir())
