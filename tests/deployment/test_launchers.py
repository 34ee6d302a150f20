"""What stands between a coordinator's code and a hospital: it leans on names of Flower's, which this version has."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import server.launcher
import sites.app
import sites.launcher
from fedcxr.deployment.run_folder import EAGER

LAUNCHERS = [
    (sites.launcher, "flwr.supernode.runtime.run_clientapp", "run_clientapp"),
    (server.launcher, "flwr.superlink.runtime.run_serverapp", "run_serverapp"),
]


@pytest.mark.parametrize(("ours", "theirs", "function"), LAUNCHERS)
def test_what_is_replaced_is_what_flower_calls(ours: ModuleType, theirs: str, function: str) -> None:
    """A name that is there and that nobody calls would leave Flower's own way open."""
    module = importlib.import_module(theirs)
    called = getattr(module, function).__code__.co_names
    for name in ours.REPLACED:
        assert name in vars(module)
        assert name in called


@pytest.mark.parametrize(("ours", "theirs", "function"), LAUNCHERS)
def test_nothing_else_of_flower_reads_the_bundle(ours: ModuleType, theirs: str, function: str) -> None:
    """In this version `fab.content` goes to what we replaced, and to nothing else."""
    source = Path(str(importlib.import_module(theirs).__file__)).read_text()
    calls = [line.strip() for line in source.splitlines() if "fab.content" in line]
    assert calls
    assert all(any(f"{name}(fab.content" in line for name in ours.REPLACED) for line in calls)


def test_the_app_is_the_hospitals_own_and_the_bundle_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    replaced = sites.launcher.REPLACED
    replaced["install_from_fab"](b"import os", skip_prompt=True)
    assert "9 bytes, sha256 " in caplog.text
    load = replaced["get_load_client_app_fn"](default_app_ref="evil:app", app_path=None, multi_app=True)
    assert load("evil/evil", "1.0.0", "abc") is sites.app.app
    assert not replaced["get_project_dir"]("evil", "1", "abc").exists()


def test_what_is_waited_for_less_is_what_flower_waits_for() -> None:
    """Names and defaults that are not there any more would be waited for as ever, and nobody would notice."""
    pulls = importlib.import_module(server.launcher.PULLS).pull_objects
    assert EAGER.keys() <= pulls.__kwdefaults__.keys()
    for module in ("flwr.supernode.start_client_internal", "flwr.superlink.grid.http_grid"):
        source = Path(str(importlib.import_module(module).__file__)).read_text()
        assert "pull_objects(" in source
        assert not any(f"{name}=" in source for name in EAGER)
    source = Path(str(importlib.import_module("flwr.supernode.start_client_internal").__file__)).read_text()
    assert set(re.findall(r"\btime\.(\w+)", source)) == {"sleep"}


def test_a_flower_without_a_name_starts_nothing(tmp_path: Path) -> None:
    """It would go on with its own."""
    program = "import flwr.supernode.runtime.run_clientapp, sys\n"
    program += "del sys.modules['flwr.supernode.runtime.run_clientapp'].install_from_fab\n"
    program += "import sites.launcher; sites.launcher.main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FLWR_HOME": str(tmp_path)}
    environment |= {"FEDCXR_SIMULATION": "1"}  # or else it fences itself in first
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert "install_from_fab" in done.stderr
