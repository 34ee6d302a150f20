"""The packed store: what is written is what is opened, a kill loses nothing, and damage is noticed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.data import _draft as drafts
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
    drafts.write(tmp_path / "shard", cohort, FACTS)
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
    drafts.write(tmp_path / "shard", some, FACTS)
    np.testing.assert_array_equal(shard.open_shard(tmp_path / "shard").films(), some.films())


def draft(folder: Path, cohort: Cohort, stamps: np.ndarray | None = None) -> drafts.Draft:
    stamps = np.arange(1, len(cohort) + 1, dtype=np.uint64) if stamps is None else stamps
    return drafts.Draft(folder.with_name("s.part"), stamps, 16)


def test_a_draft_goes_on_where_it_was_left(tmp_path: Path, cohort: Cohort) -> None:
    drafts.write(tmp_path / "whole", cohort, FACTS)
    films = cohort.films()
    first = draft(tmp_path / "s", cohort)
    drafts.fill(first.part, [1, 4], [films[1], films[4]])
    first.mark([1, 4])
    drafts.fill(first.part, [2], [films[3]])  # killed between filling and marking
    del first
    second = draft(tmp_path / "s", cohort)
    assert second.missing() == [0, 2, 3, 5]
    for slot in second.missing():
        drafts.fill(second.part, [slot], [films[slot]])
        second.mark([slot])
    second.seal(tmp_path / "s", cohort.index, FACTS)
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")


def test_what_was_made_from_another_file_is_made_again(tmp_path: Path, cohort: Cohort) -> None:
    stamps = np.arange(1, 7, dtype=np.uint64)
    draft(tmp_path / "s", cohort, stamps).mark(range(6))
    stamps[2] = 99
    assert draft(tmp_path / "s", cohort, stamps).missing() == [2]
    assert len(drafts.Draft(tmp_path / "s.part", stamps[:5], 16).missing()) == 5  # another number: all afresh
    assert len(drafts.Draft(tmp_path / "s.part", stamps[:5], 32).missing()) == 5


@pytest.mark.parametrize("left_out", [[0], [5], [1, 2, 4]])
def test_gaps_are_closed(tmp_path: Path, cohort: Cohort, left_out: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "COPIED_BYTES", 2 * 16 * 16)
    good = [slot for slot in range(6) if slot not in left_out]
    drafts.write(tmp_path / "few", cohort.take(good), FACTS)
    made = draft(tmp_path / "s", cohort)
    drafts.fill(made.part, good, list(cohort.films(good)))
    made.mark(good)
    made.seal(tmp_path / "s", cohort.index, FACTS)
    assert contents(tmp_path / "s") == contents(tmp_path / "few")


def test_a_kill_while_films_move_begins_anew(tmp_path: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    made = draft(tmp_path / "s", cohort)
    made.mark([0, 3])
    monkeypatch.setattr(drafts.Draft, "_close_gaps", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made.seal(tmp_path / "s", cohort.index, FACTS)
    assert not (tmp_path / "s").exists()
    assert len(draft(tmp_path / "s", cohort).missing()) == 6


# Annotations ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def marked(cohort: Cohort, annotated: Any) -> Cohort:
    """Six films of 16 x 16: masks on all but the first and the fourth, boxes on all but those."""
    made: Cohort = annotated(cohort, ("lungs", "heart"))
    return made


def same_annotations(one: Cohort, other: Cohort) -> None:
    assert one.annotations.names == other.annotations.names
    for organ in one.annotations.masks:
        has = np.flatnonzero(one.masked(organ))
        np.testing.assert_array_equal(np.flatnonzero(other.masked(organ)), has)
        np.testing.assert_array_equal(other.mask(organ, has), one.mask(organ, has))
    pd.testing.assert_frame_equal(other.boxes(), one.boxes(), check_exact=True)


def test_annotations_are_packed_with_the_films(tmp_path: Path, marked: Cohort) -> None:
    some = marked.take([5, 0, 2, 2])
    drafts.write(tmp_path / "shard", some, FACTS)
    opened = shard.open_shard(tmp_path / "shard", verify=True)
    same_annotations(some, opened)
    same_annotations(some.take([3, 0]), opened.take([3, 0]))
    files = contents(tmp_path / "shard")
    assert sorted(files) == ["boxes.csv", "heart.npy", "images.npy", "index.csv", "lungs.npy", "manifest.json"]
    assert len(files["lungs.npy"]) == 128 + 4 * (1 + 16 * 16 // 8)  # a bit per pixel
    for name in ("lungs.npy", "boxes.csv"):  # what is beside the films is checked as they are
        (tmp_path / "shard" / name).write_bytes(files[name][:-1] + b"?")
        with pytest.raises(DataError, match=r"check sum"):
            shard.open_shard(tmp_path / "shard", verify=True)
        (tmp_path / "shard" / name).write_bytes(files[name])
    (tmp_path / "shard" / "heart.npy").unlink()
    with pytest.raises(DataError, match="missing"):
        shard.open_shard(tmp_path / "shard")


@pytest.mark.parametrize("side", [9, 16])
def test_any_side_is_a_whole_number_of_bytes(tmp_path: Path, make_cohort: Any, annotated: Any, side: int) -> None:
    odd = annotated(make_cohort((2, 1), size=side))
    drafts.write(tmp_path / "shard", odd, FACTS)
    same_annotations(odd, shard.open_shard(tmp_path / "shard"))


def test_gaps_in_annotations_are_closed_too(tmp_path: Path, marked: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, killed and resumed: the same bytes as if only the good films had ever been there."""
    monkeypatch.setattr(drafts, "COPIED_BYTES", 2 * 16 * 16)
    good = [1, 2, 5]
    drafts.write(tmp_path / "few", marked.take(good), FACTS)
    stamps = np.arange(1, 7, dtype=np.uint64)
    for slots in ([5, 2], [1]):
        made = drafts.Draft(tmp_path / "s.part", stamps, 16, ("lungs", "heart"))
        drafts.fill(made.part, slots, list(marked.films(slots)))
        for organ in made.organs:
            drafts.fill_masks(made.part, organ, slots, list(marked.mask(organ, slots)), 16)
        made.mark(slots)
    made.seal(tmp_path / "s", marked.index, FACTS, marked.boxes())
    assert contents(tmp_path / "s") == contents(tmp_path / "few")


def test_a_draft_without_masks_is_none_with_masks(tmp_path: Path, cohort: Cohort) -> None:
    draft(tmp_path / "s", cohort).mark(range(6))
    stamps = np.arange(1, 7, dtype=np.uint64)
    assert len(drafts.Draft(tmp_path / "s.part", stamps, 16, ("lungs",)).missing()) == 6


def test_a_shard_of_the_first_format_is_read(tmp_path: Path, cohort: Cohort) -> None:
    drafts.write(tmp_path / "shard", cohort, FACTS)
    path = tmp_path / "shard" / "manifest.json"
    told = json.loads(path.read_bytes())
    del told["annotations"]
    path.write_text(json.dumps({**told, "format": 1}))
    opened = shard.open_shard(tmp_path / "shard", verify=True)
    np.testing.assert_array_equal(opened.films(), cohort.films())
    assert opened.annotations.names == ()


def test_no_film_is_no_shard(tmp_path: Path, cohort: Cohort) -> None:
    with pytest.raises(DataError, match="not one film"):
        draft(tmp_path / "s", cohort).seal(tmp_path / "s", cohort.index, FACTS)


def test_damage_is_noticed(tmp_path: Path, cohort: Cohort) -> None:
    folder = tmp_path / "shard"
    drafts.write(folder, cohort, FACTS)
    whole = contents(folder)
    for name, damaged, said in [
        ("images.npy", whole["images.npy"][:-1], "damaged"),
        ("index.csv", whole["index.csv"] + b"\n", "damaged"),
        ("manifest.json", whole["manifest.json"][:-9], "manifest"),
        ("manifest.json", whole["manifest.json"].replace(b'"format": 2', b'"format": 3'), "another version"),
        ("manifest.json", whole["manifest.json"].replace(b'"films": 6', b'"films": 7'), "and not .7, 16, 16"),
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


HEADERS = (
    b"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 16, 16)",  # cut: Python's tokenizer fails in its own way
    b"(" * 3000,
    b"{'descr': '|O', 'fortran_order': False, 'shape': (6, 16, 16), }",
    b"{'descr': '|u1', 'fortran_order': True, 'shape': (6, 16, 16), }",
    b"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 16, 1 << 40), }",
    b"",
)


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_an_array_whose_header_is_none_is_damage(tmp_path: Path, cohort: Cohort, header: bytes) -> None:
    folder = tmp_path / "shard"
    drafts.write(folder, cohort, FACTS)
    size = (folder / "images.npy").stat().st_size
    begins = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (folder / "images.npy").write_bytes((begins + bytes(size))[:size])
    with pytest.raises(DataError, match="this shard is damaged"):
        shard.open_shard(folder)


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_that_leaves_the_sizes_is_damage_or_goes_unnoticed(
    tmp_path: Path, cohort: Cohort, noise: bytes, place: int
) -> None:
    folder = tmp_path / "shard"
    if not folder.exists():
        drafts.write(folder, cohort, FACTS)
    whole = contents(folder)
    for name in ("images.npy", "index.csv", "manifest.json"):
        data = bytearray(whole[name])
        end = min(place + len(noise), len(data))
        data[place:end] = noise[: max(end - place, 0)]
        (folder / name).write_bytes(data)
        with contextlib.suppress(DataError):
            shard.open_shard(folder)
        (folder / name).write_bytes(whole[name])


@pytest.mark.parametrize("name", ["images.npy", "index.csv", "manifest.json"])
def test_a_pipe_in_a_shard_is_not_waited_for(tmp_path: Path, cohort: Cohort, name: str) -> None:
    folder = tmp_path / "shard"
    drafts.write(folder, cohort, FACTS)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    told = json.loads((folder / "manifest.json").read_text()) if name != "manifest.json" else {}
    if told:
        told["files"][name]["bytes"] = 0
        (folder / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(DataError):
        shard.open_shard(folder)


def test_a_manifest_names_its_own_files_alone(tmp_path: Path, cohort: Cohort) -> None:
    folder = tmp_path / "shard"
    drafts.write(folder, cohort, FACTS)
    told = json.loads((folder / "manifest.json").read_text())
    told["files"]["../../../etc/passwd"] = {"bytes": 1, "sha256": ""}
    (folder / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match="manifest is damaged"):
        shard.open_shard(folder)


def test_what_is_there_is_not_written_over(tmp_path: Path, cohort: Cohort) -> None:
    (tmp_path / "mine").mkdir()
    drafts.write(tmp_path / "mine", cohort, FACTS)  # an empty folder may be used
    with pytest.raises(ConfigError, match="something already"):
        drafts.write(tmp_path / "mine", cohort, FACTS)


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
        drafts.write(small_disk / "s", make_cohort((10,) * 20, size=64), FACTS)
    assert [path.name for path in small_disk.iterdir()] == ["s.lock"]
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize > 200_000


def test_a_full_index_of_nih_is_read_within_a_second(tmp_path: Path, make_cohort: Any) -> None:
    """112,120 rows; the limit is loose, because the machine may be busy. `scripts/bench data` has the figure."""
    import time

    one = make_cohort((4,) * 100, size=16)
    index = pd.concat([one.index] * 281, ignore_index=True)
    index.to_csv(tmp_path / "index.csv", index=False)
    start = time.process_time()
    assert len(shard.read_index(tmp_path / "index.csv", FINDINGS, 112_400)) == 112_400
    assert time.process_time() - start < 2


def test_abandoned_drafts_are_swept(tmp_path: Path) -> None:
    parts = {name: tmp_path / f"nih-{name}.part" for name in ("old", "new", "held", "resumed")}
    for part in (*parts.values(), tmp_path / "folder-old.part"):
        part.mkdir()
        (part / "images.npy").touch()
        for path in (part / "images.npy", part):
            os.utime(path, (1, 1))
    (tmp_path / "nih-old").mkdir()  # a shard, not a draft
    os.utime(parts["new"])
    os.utime(parts["resumed"] / "images.npy")
    with drafts.held(parts["held"]):
        drafts.sweep(tmp_path, "nih-*.part")
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {"nih-new.part", "nih-held.part", "nih-resumed.part", "folder-old.part", "nih-old"}
