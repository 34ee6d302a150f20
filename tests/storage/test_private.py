"""Other users of this machine: what they plant, what they may read, and that neither helps them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcxr.data._draft import write
from fedcxr.data.phantom import Phantom
from fedcxr.errors import FedcxrError, Refused
from fedcxr.runs import Run
from fedcxr.scenario import Scenario
from fedcxr.storage.disk import write_atomic
from fedcxr.storage.private import locked, private_folder, sweep_drafts

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play another user")

SMALL = {
    "cohort": {"source": "phantom", "patients": 12, "size": 16},
    "sites": 1,
    "partition": {"by": "iid"},
    "method": "none",
    "tasks": {},
    "adversaries": {},
}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(*folders: Path) -> list[str]:
    """What somebody else may do anything with, in these folders or to them."""
    found = [path for folder in folders for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    return [f"{path} {mode(path):o}" for path in found if mode(path) & 0o077]


# What others may read -------------------------------------------------------------------------------------------------


def fedcxr(*arguments: str, cwd: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FEDCXR_CACHE": str(cwd / "cache")}
    command = [sys.executable, "-m", "fedcxr.cli", *arguments]
    subprocess.run(command, cwd=cwd, env=environment, umask=0o022, capture_output=True, check=True)


def study(cwd: Path) -> None:
    (cwd / "plan.yaml").write_text(json.dumps({"name": "few", "scenario": SMALL}))
    fedcxr("study", "plan.yaml", "--engine", "inline", "--out", "runs", cwd=cwd)


def pack(cwd: Path) -> None:
    fedcxr("data", "shard", "--set", "patients=12", "--set", "size=16", "--out", "packed", cwd=cwd)
    fedcxr("data", "show", "--set", "patients=12", "--set", "size=16", "--out", "films.png", cwd=cwd)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "makes"), [(study, "runs"), (pack, "packed")])
def test_nothing_that_a_command_leaves_is_open_to_others(
    command: Callable[[Path], None], makes: str, tmp_path: Path
) -> None:
    command(tmp_path)
    assert list((tmp_path / makes).rglob("*"))
    assert not open_to_others(tmp_path / makes, tmp_path / "cache")
    assert not [path for path in tmp_path.glob("*.png") if mode(path) & 0o077]


def test_what_was_open_is_closed_with_all_that_is_in_it(tmp_path: Path) -> None:
    old = tmp_path / "old" / "deep"
    old.mkdir(parents=True)
    (old / "film.npy").touch()
    for path in (old.parent, old, old / "film.npy"):
        path.chmod(0o777)
    (old / "link").symlink_to("/etc/hostname")
    before = mode(Path("/etc/hostname"))
    private_folder(old.parent)
    assert not open_to_others(old.parent)
    assert mode(Path("/etc/hostname")) == before


def test_a_run_closes_the_folder_that_an_older_one_left_open(tmp_path: Path) -> None:
    run = Run.place(tmp_path, Scenario.parse(SMALL))
    with run.begun(resume=False):
        pass
    for path in (run.folder, run.folder / "releases", run.folder / "scenario.yaml"):
        path.chmod(0o777)
    with run.begun(resume=True):
        assert not open_to_others(run.folder)


# What others plant ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_a_link_in_the_place_of_a_draft_leads_nowhere(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither under a name that can be guessed, nor if somebody guessed the name that cannot."""
    precious, path = tmp_path / "precious", tmp_path / "result.json"
    precious.write_text("mine")
    if known:
        monkeypatch.setattr(os, "urandom", bytes)
    for name in (str(os.getpid()), bytes(8).hex()):
        (tmp_path / f".result.json.{name}.draft").symlink_to(precious)
    if known:
        with pytest.raises(FedcxrError, match="cannot write there"):
            write_atomic(path, b"films")
    else:
        write_atomic(path, b"films")
        assert not path.is_symlink()
    assert precious.read_text() == "mine"


def test_a_link_in_the_place_of_a_lock_leads_nowhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    run = Run.place(tmp_path, Scenario.parse(SMALL))
    with run.begun(resume=False):
        pass
    (run.folder / "lock").unlink()
    (run.folder / "lock").symlink_to(precious)
    with pytest.raises(FedcxrError), run.begun(resume=False):
        pass
    assert precious.read_text() == "mine"


@as_root
@pytest.mark.parametrize("how", ["folder", "file", "link"])
def test_a_folder_that_somebody_else_prepared_is_refused(how: str, tmp_path: Path) -> None:
    run = Run.place(tmp_path, Scenario.parse(SMALL))
    run.folder.mkdir(parents=True)
    run.folder.chmod(0o777)
    planted = {"folder": run.folder, "file": run.folder / "x.draft", "link": run.folder / "y.draft"}[how]
    if how == "file":
        planted.touch()
    if how == "link":
        planted.symlink_to("/etc/hostname")
    os.chown(planted, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(Refused, match="somebody else's"), run.begun(resume=False):
        pass


@as_root
def test_a_shard_is_not_packed_into_what_somebody_else_prepared(tmp_path: Path) -> None:
    """A folder with all the files a draft consists of, of the right sizes: films were written into it."""
    cohort = Phantom(patients=6, size=16).open(tmp_path / "cache")
    part = tmp_path / "packed.part"
    part.mkdir()
    part.chmod(0o777)
    os.chown(part, NOBODY, NOBODY)
    with pytest.raises(Refused, match="somebody else's"):
        write(tmp_path / "packed", cohort, {"source": {}})
    assert not list(part.rglob("*.npy"))


def test_a_folder_that_everybody_can_replace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "everybodys").mkdir()
    (tmp_path / "everybodys").chmod(0o777)
    with pytest.raises(Refused, match="everybody may put another folder"):
        private_folder(tmp_path / "everybodys" / "between" / "films")
    (tmp_path / "everybodys").chmod(0o1777)  # as /tmp is
    assert mode(private_folder(tmp_path / "everybodys" / "between" / "films")) == 0o700


@as_root
def test_a_lock_that_somebody_else_may_hold_is_none(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    os.chown(tmp_path / "lock", NOBODY, NOBODY)
    with pytest.raises(Refused, match="somebody else's"), locked(tmp_path / "lock"):
        pass


def test_what_a_kill_left_half_written_is_swept_on_resume(tmp_path: Path) -> None:
    run = Run.place(tmp_path, Scenario.parse(SMALL))
    with run.begun(resume=False):
        pass
    left = run.folder / "stages" / ".collect.json.0123.draft"
    left.touch()
    with run.begun(resume=True):
        assert not left.exists()
    (run.folder / "kept").touch()
    sweep_drafts(run.folder)
    assert (run.folder / "kept").exists()
