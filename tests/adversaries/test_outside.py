"""Where code from outside is found without running any of it, and how a process for it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedcxr.adversaries._location import Location
from fedcxr.adversaries._process import command, environment
from fedcxr.errors import ConfigError

MARK = "open(__file__ + '.ran', 'w').close()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the search path, whose modules leave a mark when they run."""
    (tmp_path / "module.py").write_text(MARK)
    for package in ("package", "spaces/inner"):
        (tmp_path / package).mkdir(parents=True)
        for file in ("__init__.py", "module.py"):
            (tmp_path / package / file).write_text(MARK)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "readable"),
    [
        ("module", "module.py"),
        ("package", "package"),
        ("package.module", "package"),
        ("package.sub.module", "package"),
        ("spaces.inner.module", "spaces/inner"),
    ],
)
def test_the_smallest_place_that_an_import_needs(folder: Path, module: str, readable: str) -> None:
    location = Location.of(module)
    assert location.readable == folder / readable
    assert not list(folder.rglob("*.ran"))


@pytest.mark.parametrize("module", ["nowhere", "spaces", "spaces.nowhere", "", ".", "..", "module/../module", "sys"])
def test_what_is_no_module_is_refused(folder: Path, module: str) -> None:
    with pytest.raises(ConfigError):
        Location.of(module)


def test_a_link_to_something_else_opens_nothing(folder: Path) -> None:
    (folder / "secret").write_text("who is who")
    (folder / "linked.py").symlink_to(folder / "secret")
    with pytest.raises(ConfigError, match="plain file of Python's"):
        Location.of("linked")


@pytest.mark.parametrize("home", ["package", "package/home", "package/a/home"])
def test_a_package_that_is_a_home_or_around_one_is_refused(
    folder: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder / home))
    with pytest.raises(ConfigError, match="home or root"):
        Location.of("package")


def test_its_digest_is_of_its_sources(folder: Path) -> None:
    module, package = Location.of("module").digest, Location.of("package").digest
    (folder / "package" / "module.py").write_text("changed = True\n")
    assert Location.of("module").digest == module
    assert Location.of("package").digest != package


@pytest.mark.parametrize(
    ("where", "name"), [("cwd", "torch.py"), ("cwd", "server.py"), ("path", "sitecustomize.py"), ("path", "json.py")]
)
def test_no_process_for_it_runs_what_lies_about(
    where: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the folder that a command is given in, nor on the coordinator's search path."""
    (tmp_path / name).write_text(MARK)
    if where == "path":
        monkeypatch.syspath_prepend(tmp_path)

    def marks(started: list[str], around: dict[str, str]) -> list[Path]:
        subprocess.run(started, cwd=tmp_path, env=around, input="{}", text=True, capture_output=True, check=False)
        found = list(tmp_path.glob("*.ran"))
        for mark in found:
            mark.unlink()
        return found

    usual = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    plain = [sys.executable, "-m", "server.description"]
    assert marks(plain if name != "torch.py" else [sys.executable, "-c", "import torch"], usual)  # the control
    assert not marks(command("server.description"), environment())
