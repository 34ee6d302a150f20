"""The command line: help without weight, and every wrong input as one clear line with its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import SMALL

from fedcxr.scenario import Scenario


def fedcxr(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "COLUMNS": "100"}
    command = [sys.executable, "-m", "fedcxr.cli", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sites", "0"), "sites"),
        (("--sites", "many"), "--sites"),
        (("--site", "5"), "--sites"),
        (("--method", "nois"), "did you mean 'noise'?"),
        (("--method", "no.such:Class"), "No module named"),
        (("--method", "noise", "--set", "method.scal=1"), "did you mean 'scale'?"),
        (("--method", "noise", "--set", "method.scale=-1"), "greater than or equal to 0"),
        (("--set", "method.scale"), "a.b=VALUE"),
        (("--preset", "fast"), "quick"),
        (("--set", "cohort.patients=3", "--set", "partition.by=iid"), "more sites than patients"),
        (("--set", "min_sites=9"), "min_sites is more than sites"),
        (("--set", "knowledge.mechanism=false"), "retrained"),
        (("no-such.yaml",), "no-such.yaml"),
        (("--device", "cuda"), "CUDA"),
        (("--engine", "inline", "--ray-address", "1.2.3.4:5"), "--ray-address"),
        (("--out", "/proc/nowhere"), "/proc/nowhere"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    place = () if "--out" in arguments else ("--out", str(tmp_path))
    engine = () if "--engine" in arguments else ("--engine", "inline")
    done = fedcxr("simulate", *arguments, *place, *engine)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert said in lines[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.rglob("result.json"))


def test_another_versions_folder_is_refused(tmp_path: Path) -> None:
    scenario = Scenario.parse({**SMALL, "tasks": {}, "adversaries": {}})
    plan = tmp_path / "plan.yaml"
    plan.write_text(scenario.to_yaml())
    command = ("simulate", str(plan), "--engine", "inline", "--out", str(tmp_path / "runs"))
    assert fedcxr(*command).returncode == 0
    (mark,) = (tmp_path / "runs").rglob("run.json")
    mark.write_text('{"format": 99}')
    done = fedcxr(*command, "--resume")
    assert done.returncode == 2
    assert "another version" in done.stderr
    assert fedcxr(*command).returncode == 0  # afresh, it may be cleared: it is a run folder


def test_a_full_disk_is_said_and_leaves_no_result(tmp_path: Path) -> None:
    """A file system of 256 kB stands for a full disk."""
    small_disk = tmp_path / "disk"
    small_disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small_disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs rights this process does not have")
    try:
        plan = tmp_path / "plan.yaml"
        plan.write_text(Scenario.parse({**SMALL, "tasks": {}, "adversaries": {}}).to_yaml())
        done = fedcxr("simulate", str(plan), "--engine", "inline", "--out", str(small_disk))
        assert done.returncode == 3, done.stderr
        assert "the disk is full" in done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert not list(small_disk.rglob("result.json"))
        assert not list(small_disk.rglob("*.draft"))
    finally:
        subprocess.run(["umount", str(small_disk)], check=True)


def test_json_is_one_document_on_stdout(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(Scenario.parse({**SMALL, "tasks": {}, "adversaries": {}}).to_yaml())
    done = fedcxr("simulate", str(plan), "--engine", "inline", "--out", str(tmp_path), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scenario"]["name"] == "small"


@pytest.mark.parametrize(
    "command", [(), ("simulate",), ("methods",), ("data", "show"), ("artefacts", "list"), ("schema",)]
)
def test_help_is_light(command: tuple[str, ...]) -> None:
    """No command's help may import what takes seconds."""
    arguments = [*command, "--help"]
    look = (
        "import sys, fedcxr.cli\n"
        f"try: fedcxr.cli.app({arguments!r}, standalone_mode=False)\n"
        "finally: print(sorted({'torch', 'flwr', 'ray', 'pandas', 'sklearn'} & set(sys.modules)), file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", look], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.strip() == "[]"
    if command:
        assert "Example: fedcxr" in done.stdout


def test_catalogue_names_what_there_is() -> None:
    assert {"none", "noise"} <= {line.split()[0] for line in fedcxr("methods").stdout.splitlines()}
    noise = fedcxr("methods", "noise").stdout
    assert "scale" in noise
    assert "guarantee: none" in noise
    assert json.loads(fedcxr("tasks", "findings", "--format", "json").stdout)["name"] == "findings"
    unknown = fedcxr("adversaries", "verifyer")
    assert unknown.returncode == 2
    assert "did you mean 'verifier'?" in unknown.stderr


def test_data_show_draws_a_contact_sheet(tmp_path: Path) -> None:
    few = ("--set", "patients=12", "--set", "size=32", "--films", "6")
    done = fedcxr("data", "show", *few, "--out", "films.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "films.png").read_bytes().startswith(b"\x89PNG")
    assert fedcxr("data", "show", "--set", "patients=12", "--out", "/proc/x.png").returncode == 2


def test_what_a_command_starts_imports_nothing_from_the_folder_one_is_in(traps: Path) -> None:
    """Python's own processes for work on films look there first, before its own library."""
    script = "import sys; del sys.path[0]; from fedcxr.cli import main; main()"  # as the installed command begins
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "FEDCXR_CACHE": str(traps)}
    films = ("--set", "patients=600", "--set", "size=64", "--workers", "2")
    command = [sys.executable, "-c", script, "data", "check", *films]
    done = subprocess.run(command, env=environment, cwd=traps, capture_output=True, text=True, timeout=300, check=False)
    assert not (traps / "sprung").exists()
    assert done.returncode == 0, done.stderr


def test_a_command_ends_with_its_code_whatever_its_threads_are_at() -> None:
    """A training that nobody waits for any more, as of a run that was stopped: C++ aborts who finalises around it."""
    script = (
        "import sys, threading, torch\n"
        "from fedcxr import cli\n"
        "def learn():\n"
        "    network = torch.nn.Conv2d(8, 8, 3)\n"
        "    while True: network(torch.zeros(8, 8, 64, 64)).sum().backward()\n"
        "threading.Thread(target=learn, daemon=True).start()\n"
        "cli.process()\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", script, "methods", "nonsense"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown method")
    assert len(done.stderr.splitlines()) == 1
