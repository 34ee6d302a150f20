"""The commands under `data`, in this process: what they say of an odd folder, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from PIL import Image

from fedcxr.cli import app
from fedcxr.data._pool import in_parallel
from fedcxr.errors import ConfigError, DataError, FedcxrError
from fedcxr.scenario import Scenario

CHECK = ("data", "check", "--source", "folder", "--workers", "1")


def run(*arguments: str) -> tuple[str, FedcxrError | None]:
    """What stands on stdout, and the error that ends the command."""
    done = typer.testing.CliRunner().invoke(app, arguments)
    if done.exception is not None and not isinstance(done.exception, FedcxrError):
        raise done.exception
    return done.stdout, done.exception


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a clinic exports it: films beside a semicolon table in Latin-1, of a site without a secret."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FEDCXR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEDCXR_SECRET_FILE", raising=False)
    root = tmp_path / "export"
    root.mkdir()
    rng = np.random.default_rng(0)
    lines = ["File;Subject;Größe;Label"]
    for film in range(12):
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(root / f"{film}.png")
        lines.append(f"{film}.png;{film // 2};1;{'No Finding' if film % 3 else 'Mass'}")
    (root / "befund.csv").write_bytes("\n".join(lines).encode("cp1252"))
    return root


def test_a_check_says_how_it_read_a_folder_and_leaves_nothing(films: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    said, error = run(*CHECK, "--root", str(films))
    assert error is None
    assert sorted(tmp_path.rglob("*")) == before  # no cache, no secret
    assert said.splitlines()[:6] == [
        "folder: 12 films of 6 patients, 64 x 64 pixels",
        "guessed: image is 'File', patient is 'Subject'; findings are the words of 'Label', with '|' between them",
        "befund.csv: Windows-1252 (Latin-1), columns between semicolons",
        "not read: Größe",
        "the table is befund.csv",
        "there is no folder images, so names of images start from root",
    ]
    assert "6 patients have two films or more: 6 genuine pairs" in said
    assert "warning: 'No Finding' (8 films) counts as a finding" in said
    assert "warning: this site has no secret yet" in said
    told = json.loads(run(*CHECK, "--root", str(films), "--format", "json")[0])
    assert (told["audit"]["pairs"], told["table"]) == (6, {"films": 12, "patients": 6})


def test_an_incomplete_folder_is_reported_in_full(films: Path) -> None:
    for film in range(2, 12):
        (films / f"{film}.png").unlink()
    said, error = run(*CHECK, "--root", str(films))
    assert isinstance(error, DataError)
    assert said.startswith("folder: 2 films of 1 patients, 64 x 64 pixels\nthe table names 12 films of 6 patients\n")
    assert "10 unusable (10 missing), 0 allowed\n" in said
    assert "data check" not in str(error)  # which is what was just done
    assert "they are named above; complete the folder, or raise max_bad" in str(error)


def test_a_table_of_unusual_columns_lists_them_for_its_owner(films: Path) -> None:
    table = films / "befund.csv"
    table.write_bytes(table.read_bytes().replace(b"Subject", b"Kranker"))
    _, error = run(*CHECK, "--root", str(films))
    assert "one of its columns: File, Kranker, Größe, Label; say --columns patient=NAME" in str(error)
    assert run(*CHECK, "--root", str(films), "--columns", "patient=Kranker")[1] is None
    (films / "second.csv").write_text("a,b\n")
    assert "more than one table; given: 2 tables; say which it is" in str(run(*CHECK, "--root", str(films))[1])


def test_masks_are_drawn_on_the_sheet(films: Path, tmp_path: Path) -> None:
    (films / "masks").mkdir()
    square = np.zeros((20, 20), dtype=np.uint8)
    square[5:15, 5:15] = 255
    for film in range(12):
        Image.fromarray(square).save(films / "masks" / f"{film}.png")
    sheets = []
    for keys in ((), ("--set", "masks=masks")):
        shown = ("data", "show", "--source", "folder", "--root", str(films), "--films", "1", "--out")
        assert run(*shown, str(tmp_path / "sheet.png"), *keys)[1] is None
        sheets.append(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int))
    changed = np.argwhere(sheets[0] != sheets[1])
    assert len(changed)
    assert np.ptp(changed, axis=0).tolist() == pytest.approx([95, 95], abs=4)  # half a tile, and nothing outside


def test_a_sheet_is_a_png_and_nothing_is_done_for_another() -> None:
    said, error = run("data", "show", "--out", "films.xyz")
    assert isinstance(error, ConfigError)
    assert str(error) == "a contact sheet is a PNG; given: --out films.xyz; allowed: .png; say films.png"
    assert said == ""


def test_sources_are_told_with_all_their_keys() -> None:
    said, _ = run("data", "sources")
    assert {"folder", "nih", "dicom", "phantom"} <= {line.split()[0] for line in said.splitlines()}
    keys = {line.split(" = ")[0].strip() for line in run("data", "sources", "folder")[0].splitlines() if " = " in line}
    assert {"root", "max_bad", "columns.image", "findings.label", "splits.shares"} <= keys
    assert "did you mean 'folder'?" in str(run("data", "sources", "foldr")[1])


def test_a_hundred_sites_are_as_many_phantom_hospitals_and_too_many_are_refused_at_once() -> None:
    cohort = Scenario.parse({"sites": 100}).cohort
    assert cohort is not None
    assert cohort.spec()["sources"] == 100
    with pytest.raises(ConfigError, match=r"some sites would hold no films.*400 sites"):
        Scenario.parse({"sites": 400})
    Scenario.parse({"sites": 400, "partition": {"by": "iid"}})


# Ctrl-C ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "said"), [("typer", "nothing was begun"), ("pandas", "")])
def test_ctrl_c_is_one_line_while_modules_are_loaded(module: str, said: str) -> None:
    code = (
        "import os, sys\n"
        "class Typing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), 2)\n"
        "sys.meta_path.insert(0, Typing())\n"
        "from fedcxr.__main__ import main\n"
        "main()\n"
    )
    path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", code, "data", "check", "--source", "folder", "--root", "/"]
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 130
    assert done.stderr.startswith("error: interrupted")
    assert len(done.stderr.splitlines()) == 1


def test_interrupted_work_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    """Its processes are the terminal's, too, and Ctrl-C reaches them while they start."""
    before = signal.getsignal(signal.SIGINT)
    work = in_parallel(time.sleep, [0.0, 60.0, 60.0], 2)
    next(work)
    began = time.monotonic()
    work.close()
    assert time.monotonic() - began < 10
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is before
