"""Packing films: the same bytes however it was interrupted and spread, and no film is ever left out in silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer.testing
from PIL import Image

from fedcxr import cli
from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.data import _decoding, _packed
from fedcxr.data import _shard as shard
from fedcxr.data._listing import Decoder, Listing, Problem
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import Secret
from fedcxr.data.phantom import Phantom
from fedcxr.data.shard import Shard
from fedcxr.errors import ConfigError, DataError, EngineBroken, FedcxrError

FILMS = 70  # three batches


class Album(Packed):
    """A folder with one PNG per film, numbered, and a table made up; `odd` is a row that its table lacks."""

    odd: bool = False
    secret: str = "/home/somebody"

    def listing(self, secret: Secret | None = None) -> Listing:
        files = sorted(Path(self.root).glob("*.png"))
        number = np.arange(len(files))
        index = pd.DataFrame(
            {
                "image": [f"film-{n}" for n in number],
                "patient": [f"patient-{n // 2}" for n in number],
                "visit": number % 2,
                "view": "PA",
                "age": 50.0,
                "sex": "F",
                "source": "album",
                "split": np.array(["train", "val", "test"])[number // 2 % 3],
            }
        )
        findings = pd.DataFrame(dict.fromkeys(FINDINGS, np.float32(0)), index=index.index)
        problems = (Problem("table, line 3", "no patient: 7 of 9"),) if self.odd else ()
        spellings = {finding: finding for finding in FINDINGS}
        return Listing(pd.concat([index, findings], axis=1), files, FINDINGS, spellings, problems)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(FILMS):
        Image.fromarray(picture(number)).save(folder / f"{number:03d}.png")
    return folder


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (40, 32), dtype=np.uint8)


def album(root: Path, **fields: object) -> Album:
    return Album.model_validate({"root": str(root), "size": 32, **fields})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def finished(cache: Path) -> list[Path]:
    return [path.parent for path in cache.glob("*/manifest.json") if path.parent.suffix != ".part"]


def test_films_are_packed_once_and_again_when_one_changes(tmp_path: Path, root: Path) -> None:
    seen: list[tuple[int, int]] = []
    source, cache = album(root), tmp_path / "cache"
    cohort = source.open(cache, progress=lambda *counts: seen.append(counts))
    assert seen == [(32, 70), (64, 70), (70, 70)]
    assert len(cohort) == FILMS
    for number in (0, 31, 32, 69):
        expected = Image.fromarray(picture(number)).resize((32, 32), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(cohort.films([number])[0], np.asarray(expected))
    seen.clear()
    source.open(cache, progress=lambda *counts: seen.append(counts))
    assert not seen
    Image.fromarray(picture(99)).save(root / "005.png")
    os.utime(root / "005.png", (1, 1))
    assert not np.array_equal(source.open(cache).films([5]), cohort.films([5]))
    assert len(finished(cache)) == 2
    assert len(album(root, size=16).open(cache)) == FILMS
    assert not list(cache.glob("*.part"))


def test_a_new_shard_sweeps_the_cache(tmp_path: Path, root: Path) -> None:
    source, cache = album(root), tmp_path / "cache"
    abandoned = cache / f"{source._label()}-0123456789abcdef.part"
    abandoned.mkdir(parents=True)
    os.utime(abandoned, (1, 1))
    source.open(cache)
    assert not abandoned.exists()


def test_a_shard_tells_nothing_of_where_it_came_from(tmp_path: Path, root: Path) -> None:
    album(root).pack(tmp_path / "shard")
    for name, data in contents(tmp_path / "shard").items():
        for private in (str(tmp_path), "films/", "005.png", "/home/somebody"):
            assert private.encode() not in data, name
    told = shard.read_manifest(tmp_path / "shard").source
    assert told["size"] == 32
    assert {"root", "secret"}.isdisjoint(told)


def test_an_interrupted_packing_goes_on_to_the_same_bytes(tmp_path: Path, root: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    source = album(root)
    source.pack(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        source.pack(tmp_path / "shard", progress=stop)
    assert not (tmp_path / "shard").exists()
    seen: list[int] = []
    source.pack(tmp_path / "shard", workers=2, progress=lambda done, total: seen.append(done))
    assert min(seen) > 32  # what was done is not done again
    assert contents(tmp_path / "shard") == contents(tmp_path / "whole")


def test_a_killed_packing_goes_on_to_the_same_bytes(tmp_path: Path, root: Path) -> None:
    source = album(root)
    source.pack(tmp_path / "whole")
    code = (
        "import sys, time; from test_packed import Album\n"
        "def wait(done, total): time.sleep(60)\n"
        "Album(root=sys.argv[1], size=32).pack(__import__('pathlib').Path(sys.argv[2]), progress=wait)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *(p for p in sys.path if p)])
    command = [sys.executable, "-c", code, str(root), str(tmp_path / "shard")]
    child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    done = tmp_path / "shard.part" / "done"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (done.is_file() and any(done.read_bytes())):
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    seen: list[int] = []
    source.pack(tmp_path / "shard", progress=lambda done, total: seen.append(done))
    assert min(seen) > 32
    assert contents(tmp_path / "shard") == contents(tmp_path / "whole")
    assert not (tmp_path / "shard.part").exists()


def spoil(root: Path) -> None:
    (root / "003.png").write_bytes(b"")
    (root / "040.png").write_bytes((root / "040.png").read_bytes()[:400])
    Image.new("L", (1, 1)).save(root / "041.png")


def test_an_unusable_film_is_an_error_that_names_no_file(tmp_path: Path, root: Path) -> None:
    spoil(root)
    source = album(root, max_bad=2)
    with pytest.raises(DataError, match=r"3: 1 empty, 1 truncated, 1 too small; allowed: at most 2") as error:
        source.open(tmp_path / "cache")
    assert ".png" not in str(error.value)  # a site's error travels to the server
    assert not finished(tmp_path / "cache")
    told = source.pack(tmp_path / "shard")
    assert not told.usable
    assert not (tmp_path / "shard").exists()
    assert [(p.file, p.reason.partition(":")[0]) for p in told.problems] == [
        ("003.png", "empty"),
        ("040.png", "truncated"),
        ("041.png", "too small"),
    ]


def test_checking_says_what_packing_says_and_writes_nothing(tmp_path: Path, root: Path) -> None:
    spoil(root)
    source = album(root, max_bad=3, odd=True)
    before = sorted(tmp_path.rglob("*"))
    checked = source.check(workers=2)
    assert sorted(tmp_path.rglob("*")) == before
    assert checked == source.pack(tmp_path / "shard")
    assert not checked.usable  # with the row that the table lacks there are four
    assert checked.films == FILMS - 3
    assert "3 allowed" in checked.to_text()
    assert "  003.png: empty" in checked.to_text()
    assert json.loads(checked.to_json())["problems"][1] == {"file": "003.png", "reason": "empty"}


def test_allowed_unusable_films_are_left_out_and_counted(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = album(root).open(tmp_path / "cache")
    spoil(root)
    some = album(root, max_bad=3).open(tmp_path / "cache")
    kept = [n for n in range(FILMS) if n not in (3, 40, 41)]
    np.testing.assert_array_equal(some.films(), whole.films(kept))
    assert list(some.index["image"]) == [f"film-{n}" for n in kept]
    assert "left out 1 empty, 1 truncated, 1 too small" in caplog.text
    with pytest.raises(DataError, match="at most 2"):  # packed already, and still not silent
        album(root, max_bad=2).open(tmp_path / "cache")


def test_after_a_repair_only_the_repaired_film_is_read(tmp_path: Path, root: Path) -> None:
    spoil(root)
    with pytest.raises(DataError):
        album(root).open(tmp_path / "cache")
    for number in (3, 40, 41):
        Image.fromarray(picture(number)).save(root / f"{number:03d}.png")
    seen: list[tuple[int, int]] = []
    cohort = album(root).open(tmp_path / "cache", progress=lambda *counts: seen.append(counts))
    assert seen == [(FILMS, FILMS)]
    assert len(cohort) == FILMS


def test_a_preview_decodes_only_what_it_shows(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = vars(_packed)["decode"]

    def counted(file: Path, size: int, decoder: Decoder) -> np.ndarray:
        decoded.append(file.name)
        found: np.ndarray = decode(file, size, decoder)
        return found

    monkeypatch.setattr(_packed, "decode", counted)
    few = album(root).preview(5, tmp_path / "cache")
    assert len(decoded) == 5
    assert not (tmp_path / "cache").exists()
    assert (few.films, few.patients) == (FILMS, FILMS // 2)
    whole = album(root).open(tmp_path / "cache")
    together = np.argsort(whole.patients, kind="stable")[:5]
    decoded.clear()
    packed = album(root).preview(5, tmp_path / "cache")
    assert not decoded
    for preview in (few, packed):
        np.testing.assert_array_equal(preview.shown.films(), whole.films(together))
        pd.testing.assert_frame_equal(preview.shown.index, whole.take(together).index)
        assert preview.films == FILMS

    spoil(root)
    unshown = set(root.glob("*.png")) - {root / name for name in ("003.png", "040.png", "041.png")}
    with pytest.raises(DataError, match="at most 2"):
        album(root, max_bad=2).preview(FILMS, tmp_path / "cache")
    rest = album(root, max_bad=3).preview(FILMS, tmp_path / "cache")
    assert len(rest.shown) == rest.films == len(unshown)


def test_nothing_usable_is_no_cohort(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "1.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not one film can be used"):
        album(tmp_path / "films", max_bad=9).open(tmp_path / "cache")
    with pytest.raises(DataError, match="no such folder"):
        album(tmp_path / "nowhere").open(tmp_path / "cache")


def test_a_dead_process_is_an_error(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoding, "_read", _die)
    with pytest.raises(EngineBroken, match="fewer workers"):
        album(root).pack(tmp_path / "shard", workers=2)
    assert not (tmp_path / "shard").exists()


def _die(*arguments: object) -> None:
    os._exit(9)


def test_rendered_films_are_checked_and_packed_too(tmp_path: Path) -> None:
    source = Phantom(patients=8, size=16)
    told = _packed.pack(source, tmp_path / "shard", tmp_path / "cache")
    assert told == _packed.check(source)
    opened: Cohort = shard.open_shard(tmp_path / "shard", verify=True)
    np.testing.assert_array_equal(opened.films(), source.open(tmp_path / "cache").films())
    assert told.warnings
    as_source = Shard(root=str(tmp_path / "shard"), verify=True)
    assert as_source.required_files() == (tmp_path / "shard",)
    pd.testing.assert_frame_equal(as_source.open(tmp_path / "cache").index, opened.index)
    with pytest.raises(ConfigError):
        _packed.pack(source, tmp_path / "shard", tmp_path / "cache")


# On the command line ------------------------------------------------------------------------------------------------


def test_commands(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDCXR_CACHE", str(tmp_path / "cache"))

    def run(command: str, *arguments: str) -> tuple[str, BaseException | None]:
        films = ("--source", f"{__name__}:Album", "--root", str(root), "--set", "size=32", "--workers", "1")
        done = typer.testing.CliRunner().invoke(cli.app, ["data", command, *films, *arguments])
        return done.stdout, done.exception

    spoil(root)
    said, error = run("shard", "--out", "shard", "--format", "json")
    assert [problem["file"] for problem in json.loads(said)["problems"]] == ["003.png", "040.png", "041.png"]
    assert isinstance(error, DataError)
    assert str(error).startswith("films cannot be used; given: 3: ")
    assert not (tmp_path / "shard").exists()
    said, error = run("check")
    assert isinstance(error, DataError)
    assert "041.png: too small" in said
    said, error = run("shard", "--out", "shard", "--max-bad", "3")
    assert error is None
    assert said.endswith("shard: shard\n")
    said, _ = run("show", "--max-bad", "3", "--format", "json")
    assert json.loads(said) == {"picture": "films.png", "shown": 30, "films": FILMS - 3, "patients": 34}
    assert not list((tmp_path / "cache").glob("*"))  # 30 films were decoded, nothing was packed
    for wrong in (("--columns", "image"), ("--max-bad", "-1"), ("--table", "x.csv"), ("--set", "odd=3")):
        assert isinstance(run("check", *wrong)[1], ConfigError)


def test_ctrl_c_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_packed, "pack", stop)
    with pytest.raises(FedcxrError, match="the same command goes on") as error:
        cli.app(["data", "shard", "--out", str(tmp_path / "x")], standalone_mode=False)
    assert error.value.exit_code == 130
