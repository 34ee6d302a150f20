"""What an installation brings: all that is imported, nothing else, and a library that works without the frameworks."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from vulnerabilities import verdict

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
    providers = {**importlib.metadata.packages_distributions(), "pydantic_core": ["pydantic"]}  # whose part it is
    foreign = names - own - sys.stdlib_module_names
    return {name: {provider.lower() for provider in providers.get(name, [name])} for name in foreign}


def test_what_is_installed_is_imported() -> None:
    needed = set[str]().union(*imported(SHIPPED).values())
    by_name = {"pyjpegls", "torchvision"}  # pydicom looks for the one when a film needs it; backbones name the other
    assert distributions(PROJECT["dependencies"]) <= needed | by_name


def test_what_is_imported_is_installed_or_an_extra() -> None:
    users = distributions(
        [*PROJECT["dependencies"], *(one for name in EXTRAS if name != "dev" for one in EXTRAS[name])]
    )
    assert {name: of for name, of in imported(SHIPPED).items() if not of & users} == {}
    developers = distributions([*PROJECT["dependencies"], *EXTRAS["dev"]])
    elsewhere = {"radiomics", "SimpleITK"}  # of an interpreter that FEDCXR_PYRADIOMICS names
    found = imported(["scripts", "tests"])
    assert {name: of for name, of in found.items() if name not in elsewhere and not of & developers} == {}


def test_the_walk_finds_imports() -> None:
    assert {"torch", "flwr", "sklearn", "pydicom"} <= imported(SHIPPED).keys()
    assert {"pytest", "matplotlib"} <= imported(["scripts", "tests"]).keys()


def test_every_direct_requirement_has_a_tested_version() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = distributions([*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)])
    assert wanted <= pinned


def test_the_extra_for_simulations_brings_what_an_ordinary_installation_does() -> None:
    assert set(EXTRAS["simulation"]) == {one for one in PROJECT["dependencies"] if one.startswith("flwr")}


# Lock files -----------------------------------------------------------------------------------------------------------

LOCKS = ("requirements.lock", "requirements-dev.lock")
LOCKED = re.compile(
    r"^([a-z0-9.-]+)==([^ ;]+)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def locked(name: str) -> list[tuple[str, str]]:
    """Every distribution of a lock file with its version; a file with anything else in it is none."""
    head, _, body = (ROOT / name).read_text().partition("\n")
    assert head.startswith("# Made by `scripts/make lock`")
    assert LOCKED.sub("", body) == ""
    return [(found[1], found[2]) for found in LOCKED.finditer(body)]


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_locked_by_digests_and_nothing_says_where_from(name: str) -> None:
    distributions = dict(locked(name))
    assert len(distributions) > 100
    assert {"torch", "flwr", "ray", "cryptography", "setuptools"} <= distributions.keys()


def test_locks_and_constraints_are_of_one_mind() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {tuple(line.split("==")) for line in lines if "==" in line}
    developers, users = set(locked("requirements-dev.lock")), set(locked("requirements.lock"))
    assert pinned <= developers
    assert users <= developers


def test_what_is_installed_is_what_the_lock_says() -> None:
    versions = dict[str, set[str]]()
    for name, version in locked("requirements-dev.lock"):
        versions.setdefault(name, set()).add(version)  # some have several, for several Pythons
    here = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
    both = versions.keys() & here.keys()
    assert len(both) > 100
    assert {name: here[name] for name in both if here[name] not in versions[name]} == {}


def test_the_bill_of_materials_names_all_that_users_get(tmp_path: Path) -> None:
    bill = tmp_path / "bill.json"
    subprocess.run([sys.executable, ROOT / "scripts" / "makes" / "sbom.py", bill], check=True, timeout=120)
    told = json.loads(bill.read_text())
    assert (told["bomFormat"], told["metadata"]["component"]["name"]) == ("CycloneDX", "fedcxr")
    components = told["components"]
    assert {(one["name"], one["version"]) for one in components} == set(locked("requirements.lock"))
    for one in components:
        assert one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}"
        assert one["externalReferences"][0]["hashes"]


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ([], 0, "not audited, for no source"),
        ([{"name": "a", "skip_reason": "not found"}], 0, "not audited, for no source"),
        ([{"name": "a", "version": "1", "vulns": []}], 0, "none known of 1 distributions"),
        ([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "?"}], 0, "; 1 could not be asked"),
        ([{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}], 1, "a 1: CVE-1"),
    ],
)
def test_an_audit_says_whether_anybody_answered(asked: list[dict[str, Any]], code: int, words: str) -> None:
    given, said = verdict(asked)
    assert given == code
    assert words in said


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
