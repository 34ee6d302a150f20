"""What `flwr run .` sends to the nodes: Flower's own bundle of this checkout must work where it is unpacked."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_files

PACKAGES = ("fedcxr", "sites", "server")


@pytest.fixture(scope="module")
def files(root: Path) -> dict[str, Path]:
    """What Flower is offered: the packages as they lie here, and the files that rule what it takes of them."""
    found = [path for package in PACKAGES for path in (root / package).rglob("*") if path.is_file()]
    rules = [root / name for name in ("pyproject.toml", ".gitignore", "README.md")]
    return {path.relative_to(root).as_posix(): path for path in (*found, *rules) if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def bundle(files: dict[str, Path]) -> zipfile.ZipFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pathspec, which Flower calls by an old name
        content, _ = build_fab_from_files(files)
    return zipfile.ZipFile(io.BytesIO(content))


def test_every_file_of_the_packages_travels(files: dict[str, Path], bundle: zipfile.ZipFile) -> None:
    """Code and data alike: a rule of Flower's or of .gitignore that matches a name in here loses it silently."""
    left_behind = files.keys() - set(bundle.namelist())
    of_kits = "fedcxr/deployment/templates/"  # a node of a simulation provisions nobody
    missed = {name for name in left_behind if not name.endswith("py.typed") and not name.startswith(of_kits)}
    assert missed == {".gitignore"}


def test_what_the_packages_open_is_found_in_the_bundle(bundle: zipfile.ZipFile, tmp_path: Path) -> None:
    bundle.extractall(tmp_path)
    opened = (
        "import fedcxr, fedcxr.data.phantom.tables, fedcxr.models.lungs, fedcxr.scenario\n"
        "fedcxr.data.phantom.tables.tables()\n"
        "fedcxr.models.lungs.LungFinder.load()\n"
        "for preset in ('quick', 'default', 'paper'): fedcxr.scenario.Scenario.parse({'preset': preset})\n"
        "print(fedcxr.__file__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", opened], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path)  # and not the checkout
