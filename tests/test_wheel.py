"""What is installed from a wheel, far from the checkout, works: nothing it needs was left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = ("fedcxr", "sites", "server")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")

# The installed command, and then where everything came from that it imported.
WATCHED = """
import json, runpy, sys
script, told, *arguments = sys.argv[1:]
sys.argv = [script, *arguments]
try:
    runpy.run_path(script, run_name="__main__")
finally:
    ours = {name: module for name, module in sys.modules.items() if name.startswith(("fedcxr.", "sites.", "server."))}
    with open(told, "w") as file:
        json.dump({name: module.__file__ for name, module in ours.items()}, file)
"""

TINY = [
    *("--preset", "quick", "--engine", "inline", "--sites", "2", "--device", "cpu"),
    *("--set", "cohort.patients=60", "--set", "cohort.size=32"),
    *("--method", "noise", "--set", "method.where=outside_lungs"),  # reads the weights of the network that finds lungs
    *("--set", "tasks.findings.steps=4", "--set", "tasks.findings.width=4", "--set", "tasks.findings.min_positives=2"),
    *("--set", "adversaries.verifier.steps_clean=4", "--set", "adversaries.verifier.steps_retrain=4"),
    *("--set", "adversaries.verifier.width=4"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources: a build writes beside them, and takes along what an earlier one wrote."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for tree in TREES:
        shutil.copytree(ROOT / tree, copy / tree, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(out), str(copy)]
    subprocess.run(build, check=True, timeout=300)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and everybody else's packages as they are here, but no checkout."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    subprocess.run(
        [*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], check=True, timeout=300
    )
    # A line in a .pth file adds a folder, but does not read the .pth files in it: an editable install stays behind.
    (packages,) = home.glob("lib/python*/site-packages")
    theirs = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (packages / "theirs.pth").write_text("\n".join(theirs))
    return home


@pytest.mark.slow
def test_a_wheel_holds_what_is_not_python(wheel: Path) -> None:
    """Every file of the packages, and no other."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = [path for tree in TREES for path in (ROOT / tree).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert packed == {path.relative_to(ROOT).as_posix() for path in ours}
    assert {"fedcxr/py.typed", "sites/py.typed", "server/py.typed", "fedcxr/presets/quick.yaml"} <= packed


@pytest.mark.slow
def test_a_wheel_simulates_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    told = tmp_path / "modules.json"
    script = installed / "bin" / "fedcxr"
    done = subprocess.run(
        [installed / "bin" / "python", "-c", WATCHED, script, told, "simulate", *TINY, "--format", "json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [site["status"] for site in result["sites"]] == ["ok", "ok"]
    assert result["utility"]["findings"]["trained"]["mean_auc"]["value"] is not None
    assert result["privacy"]["attacks"]
    files = {name: Path(path) for name, path in json.loads(told.read_text()).items()}
    assert {"fedcxr.protocol", "sites.app", "server.collect"} <= files.keys()
    assert {name: path for name, path in files.items() if not path.is_relative_to(installed)} == {}
