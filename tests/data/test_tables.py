"""Tables that are cut, packed, damaged or of another shape, and many paths in little memory."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from peak import peak_mb

from fedcxr.data._tables import MOST_BYTES, Paths, Table, absent, find
from fedcxr.errors import DataError, StorageError


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_columns_are_texts_in_the_order_asked_for(tmp_path: Path, name: str) -> None:
    table = Table.read(written(tmp_path, "a, b,c\n01,NA,x\n\n,1.0\n", name), ["c", "b"])
    assert table.rows.to_numpy().tolist() == [["x", "NA"], ["", "1.0"]]
    assert table.lines.tolist() == [2, 4]  # the blank line counts, as in an editor


def test_rows_are_refused_by_line(tmp_path: Path) -> None:
    table = Table.read(written(tmp_path, "a\n" + "0\n" * 3 + "1\n" * 7), ["a"])
    table.refuse(np.zeros(10, dtype=bool), "never")
    with pytest.raises(DataError, match=r"table.csv: odd; given: 7 rows, in lines 5, 6, 7, 8, 9, \.\.\.; allowed: 0"):
        table.refuse(table.rows["a"] == "1", "odd", allowed="0")
    with pytest.raises(DataError, match="no digit"):
        table.meanings("a", {"0": 0}.get, "no digit", allowed="0")
    assert table.meanings("a", int, "", allowed="").tolist() == [0] * 3 + [1] * 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "no CSV"), ("a\n1", "lacks columns; given: b"), ("a,b,b \n1,2,3", "columns twice"), ('a,b\n"1,2', "no CSV")],
)
def test_other_files(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        Table.read(written(tmp_path, text), ["a", "b"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such table"):
        Table.read(tmp_path / "none.csv", ["a"])
    with pytest.raises(StorageError):
        Table.read(tmp_path, ["a"])
    whole = written(tmp_path, "a\n" + "1\n" * 999, "table.csv.gz")
    for damaged in (whole.read_bytes()[:-9], whole.read_bytes()[:12] + b"\0\0\0", b"a\n1"):
        whole.write_bytes(damaged)
        with pytest.raises(DataError):
            Table.read(whole, ["a"])


def test_paths_are_a_sequence() -> None:
    names = np.array(["a.png", "b.png", "c/d.png"], dtype=object)
    paths = Paths([Path("x"), Path("y")], np.array([0, 1, 0]), names)
    listed = [Path("x/a.png"), Path("y/b.png"), Path("x/c/d.png")]
    assert list(paths) == listed
    assert [paths[i] for i in range(-3, 3)] == listed * 2
    assert list(paths[1:]) == listed[1:]
    assert list(paths.take(np.array([2, 0]))) == [listed[2], listed[0]]
    assert list(paths.take(np.array([False, True, False]))) == listed[1:2]
    with pytest.raises(IndexError):
        paths[3]


def test_missing_images_are_named() -> None:
    images = np.array(["a", "b"], dtype=object)
    assert absent(images, np.array([True, True])) == ()
    assert [(one.file, one.reason) for one in absent(images, np.array([True, False]))] == [("b", "missing")]


def test_find(tmp_path: Path) -> None:
    assert find(tmp_path, "a.csv") is None
    packed = written(tmp_path, "a", "b.csv.gz")
    assert find(tmp_path, "a.csv", "b.csv") == packed
    assert find(tmp_path, "a.csv", "b.csv") != written(tmp_path, "a", "a.csv") == find(tmp_path, "a.csv", "b.csv")


def test_a_small_file_does_not_become_a_large_table(tmp_path: Path) -> None:
    bomb = tmp_path / "table.csv.gz"
    with gzip.open(bomb, "wb", compresslevel=9) as file:
        file.write(b"a,b\n")
        for _ in range(300):
            file.write(b"1,2\n" * (1 << 18))
    assert bomb.stat().st_size < 1 << 20 < MOST_BYTES < 300 << 20
    imports, work = "from fedcxr.data._tables import Path, Table", "Table.read(Path(sys.argv[1]), ['a', 'b'])"
    taken, said = peak_mb(imports, work, bomb)
    assert "DataError this table has too many rows" in said
    assert taken < 500


def test_one_long_line_does_not_either(tmp_path: Path) -> None:
    bomb = tmp_path / "table.csv.gz"
    with gzip.open(bomb, "wb", compresslevel=9) as file:
        file.write(b"a,b\n")
        for _ in range(300):
            file.write(b"x" * (1 << 20))
    imports, work = "from fedcxr.data._tables import Path, Table", "Table.read(Path(sys.argv[1]), ['a', 'b'])"
    taken, said = peak_mb(imports, work, bomb)
    assert "DataError this table is too large" in said
    assert taken < 900


def test_a_table_of_too_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("a\n" + "1\n" * 9)
    monkeypatch.setattr("fedcxr.data._tables.MOST_ROWS", 8)
    with pytest.raises(DataError, match=r"too many rows.*allowed: 8"):
        Table.read(tmp_path / "t.csv", ["a"])


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(StorageError, match="not a regular file"):
        Table.read(tmp_path / "t.csv", ["a"])
