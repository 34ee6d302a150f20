"""The packed store: what is written is what is opened, a kill loses nothing, and damage is noticed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.data import _shard as shard
from fedcxr.errors import ConfigError, DataError, StorageError

FACTS: dict[str, Any] = {"findings": FINDINGS, "source": {"name": "test"}, "left_out": {}}


@pytest.fixture
def cohort(make_cohort: Any) -> Cohort:
    made: Cohort = make_cohort((3, 1, 2), size=16)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_written_and_opened(tmp_path: Path, cohort: Cohort) -> None:
    index = cohort.index.copy()
    index.loc[0, "Mass"] = np.nan
    index.loc[1, "view"] = ""
    index.loc[2, "sex"] = "NA"  # a text, whatever pandas takes it for
    index["age"] = index["age"].astype(float)
    index.loc[3, "age"] = np.nan
    cohort = Cohort.whole(cohort.pixels, index)
    shard.write(tmp_path / "shard", cohort, FACTS)
    opened = shard.open_shard(tmp_path / "shard", verify=True)
    assert isinstance(opened.pixels, np.memmap)
    assert not opened.pixels.flags.writeable
    np.testing.assert_array_equal(opened.films(), cohort.films())
    pd.testing.assert_frame_equal(opened.index, cohort.index, check_dtype=False)
    assert {str(kind) for kind in opened.index[list(FINDINGS)].dtypes} == {"float32"}
    assert sorted(contents(tmp_path / "shard")) == ["images.npy", "index.csv", "manifest.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shard", "shard.lock"]
    np.testing.assert_array_equal(np.load(tmp_path / "shard" / "images.npy"), cohort.films())  # as anybody may read it


def test_some_films_in_another_order(tmp_path: Path, cohort: Cohort) -> None:
    some = cohort.take([4, 0, 2])
    shard.write(tmp_path / "shard", some, FACTS)
    np.testing.assert_array_equal(shard.open_shard(tmp_path / "shard").films(), some.films())


def draft(folder: Path, cohort: Cohort, stamps: np.ndarray | None = None) -> shard.Draft:
    stamps = np.arange(1, len(cohort) + 1, dtype=np.uint64) if stamps is None else stamps
    return shard.Draft(folder.with_name("s.part"), stamps, 16)


def test_a_draft_goes_on_where_it_was_left(tmp_path: Path, cohort: Cohort) -> None:
    shard.write(tmp_path / "whole", cohort, FACTS)
    films = cohort.films()
    first = draft(tmp_path / "s", cohort)
    shard.fill(first.images, [1, 4], [films[1], films[4]])
    first.mark([1, 4])
    shard.fill(first.images, [2], [films[3]])  # killed between filling and marking
    del first
    second = draft(tmp_path / "s", cohort)
    assert second.missing() == [0, 2, 3, 5]
    for slot in second.missing():
        shard.fill(second.images, [slot], [films[slot]])
        second.mark([slot])
    second.seal(tmp_path / "s", cohort.index, FACTS)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_what_was_made_from_another_file_is_made_again(tmp_path: Path, cohort: Cohort) -> None:
    stamps = np.arange(1, 7, dtype=np.uint64)
    draft(tmp_path / "s", cohort, stamps).mark(range(6))
    stamps[2] = 99
    assert draft(tmp_path / "s", cohort, stamps).missing() == [2]
    assert len(shard.Draft(tmp_path / "s.part", stamps[:5], 16).missing()) == 5  # another number: all afresh
    assert len(shard.Draft(tmp_path / "s.part", stamps[:5], 32).missing()) == 5


@pytest.mark.parametrize("left_out", [[0], [5], [1, 2, 4]])
def test_gaps_are_closed(tmp_path: Path, cohort: Cohort, left_out: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "COPIED_BYTES", 2 * 16 * 16)
    good = [slot for slot in range(6) if slot not in left_out]
    shard.write(tmp_path / "few", cohort.take(good), FACTS)
    made = draft(tmp_path / "s", cohort)
    shard.fill(made.images, good, list(cohort.films(good)))
    made.mark(good)
    made.seal(tmp_path / "s", cohort.index, FACTS)
    assert contents(tmp_path / "s") == contents(tmp_path / "few")


def test_a_kill_while_films_move_begins_anew(tmp_path: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    made = draft(tmp_path / "s", cohort)
    made.mark([0, 3])
    monkeypatch.setattr(shard.Draft, "_close_gaps", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made.seal(tmp_path / "s", cohort.index, FACTS)
    assert not (tmp_path / "s").exists()
    assert len(draft(tmp_path / "s", cohort).missing()) == 6


def test_no_film_is_no_shard(tmp_path: Path, cohort: Cohort) -> None:
    with pytest.raises(DataError, match="not one film"):
        draft(tmp_path / "s", cohort).seal(tmp_path / "s", cohort.index, FACTS)


def test_damage_is_noticed(tmp_path: Path, cohort: Cohort) -> None:
    folder = tmp_path / "shard"
    shard.write(folder, cohort, FACTS)
    whole = contents(folder)
    for name, damaged, said in [
        ("images.npy", whole["images.npy"][:-1], "damaged"),
        ("index.csv", whole["index.csv"] + b"\n", "damaged"),
        ("manifest.json", whole["manifest.json"][:-9], "manifest"),
        ("manifest.json", whole["manifest.json"].replace(b'"format": 1', b'"format": 2'), "another version"),
        ("manifest.json", whole["manifest.json"].replace(b'"films": 6', b'"films": 7'), "does not hold"),
        ("images.npy", b"x" + whole["images.npy"][1:], "damaged"),
    ]:
        (folder / name).write_bytes(damaged)
        with pytest.raises(DataError, match=said):
            shard.open_shard(folder)
        (folder / name).write_bytes(whole[name])
    flipped = bytearray(whole["images.npy"])
    flipped[-1] ^= 1
    (folder / "images.npy").write_bytes(flipped)
    shard.open_shard(folder)  # quick
    with pytest.raises(DataError, match="check sum"):
        shard.open_shard(folder, verify=True)
    (folder / "images.npy").unlink()
    with pytest.raises(DataError, match="missing"):
        shard.open_shard(folder)
    with pytest.raises(DataError, match="no shard"):
        shard.open_shard(tmp_path / "nowhere")


def test_what_is_there_is_not_written_over(tmp_path: Path, cohort: Cohort) -> None:
    (tmp_path / "mine").mkdir()
    shard.write(tmp_path / "mine", cohort, FACTS)  # an empty folder may be used
    with pytest.raises(ConfigError, match="something already"):
        shard.write(tmp_path / "mine", cohort, FACTS)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB stands for a full disk."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs rights this process does not have")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_gets_its_space_back(small_disk: Path, make_cohort: Any) -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        shard.write(small_disk / "s", make_cohort((10,) * 20, size=64), FACTS)
    assert [path.name for path in small_disk.iterdir()] == ["s.lock"]
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize > 200_000


def test_a_full_index_of_nih_is_read_within_a_second(tmp_path: Path, make_cohort: Any) -> None:
    """112,120 rows; the limit is loose, because the machine may be busy. `scripts/bench data` has the figure."""
    import time

    one = make_cohort((4,) * 100, size=16)
    index = pd.concat([one.index] * 281, ignore_index=True)
    index.to_csv(tmp_path / "index.csv", index=False)
    start = time.process_time()
    assert len(shard.read_index(tmp_path / "index.csv", FINDINGS)) == 112_400
    assert time.process_time() - start < 2


def test_abandoned_drafts_are_swept(tmp_path: Path) -> None:
    drafts = {name: tmp_path / f"nih-{name}.part" for name in ("old", "new", "held", "resumed")}
    for part in (*drafts.values(), tmp_path / "folder-old.part"):
        part.mkdir()
        (part / "images.npy").touch()
        for path in (part / "images.npy", part):
            os.utime(path, (1, 1))
    (tmp_path / "nih-old").mkdir()  # a shard, not a draft
    os.utime(drafts["new"])
    os.utime(drafts["resumed"] / "images.npy")
    with shard.held(drafts["held"]):
        shard.sweep(tmp_path, "nih-*.part")
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {"nih-new.part", "nih-held.part", "nih-resumed.part", "folder-old.part", "nih-old"}
