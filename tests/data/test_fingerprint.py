"""A packed cohort is found again without a look into its table, and never when anything has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sample_hospitals
from sample_hospitals import READERS, ROOT, source, usual

from fedcxr.data._listing import Listing
from fedcxr.data._packed import Packed
from fedcxr.data._pseudonyms import Secret
from fedcxr.data.folder import Folder
from fedcxr.errors import DataError

pytestmark = pytest.mark.usefixtures("secret_file")

LATER = 2_000_000_000  # seconds since 1970: no file is made in the tick of another


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The readers that read their tables, one entry per time."""
    found: list[str] = []
    for reader in READERS:
        kind = type(source(Path("/"), {"name": reader}))

        def listing(
            films: Packed,
            secret: Secret | None = None,
            before: Callable[[Packed, Secret | None], Listing] = kind.listing,
        ) -> Listing:
            found.append(films.plugin_name())
            return before(films, secret)

        monkeypatch.setattr(kind, "listing", listing)
    return found


def films_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in (".png", ".dcm"))


def overwrite(root: Path) -> None:
    """In place, as many bytes as before: the folder does not notice."""
    film = films_of(root)[0]
    folder = film.parent.stat()
    with film.open("r+b") as file:
        file.write(films_of(root)[2].read_bytes())
    os.utime(film, (LATER, LATER))
    assert film.parent.stat().st_mtime_ns == folder.st_mtime_ns


def swap(root: Path) -> None:
    one, two = films_of(root)[:2]
    one.rename(root / "x")
    two.rename(one)
    (root / "x").rename(two)


def take_away(root: Path) -> None:
    films_of(root)[0].rename(root.parent / "away.png")


def edit(root: Path) -> None:
    table = min(root.glob("*.csv"))
    table.write_text(table.read_text().replace(",0,", ",1,"))


def add_a_table(root: Path) -> None:
    (root / "Data_Entry_2017_v2020.csv").write_text((root / "Data_Entry_2017.csv").read_text())


def edit_a_list(root: Path) -> None:
    (root / "test_list.txt").write_text((root / "test_list.txt").read_text() + "\n")


def add_a_folder(root: Path) -> None:
    sample_hospitals.save(root / "images_099" / "images" / "new.png", 0)


def add_below(root: Path) -> None:
    sample_hospitals.save(root / "images" / "new" / "deep" / "new.png", 0)


def add_a_film(root: Path) -> None:
    sample_hospitals.dicom(root / "deep" / "below", usual("dicom"))


CHANGES = {
    "nih": (overwrite, swap, take_away, edit, add_a_table, edit_a_list, add_a_folder),
    "folder": (overwrite, swap, take_away, edit, add_below),
    "dicom": (overwrite, swap, take_away, add_a_film),
}


@pytest.mark.parametrize(
    ("reader", "change"),
    [
        pytest.param(reader, change, id=f"{reader}-{change.__name__}")
        for reader in CHANGES
        for change in CHANGES[reader]
    ],
)
def test_a_table_is_read_again_when_anything_changes(
    tmp_path: Path, listed: list[str], reader: str, change: Callable[[Path], None]
) -> None:
    root, cache = tmp_path / ROOT, tmp_path / "cache"
    films = source(root, {**READERS[reader](root, usual(reader)), "max_bad": 9})
    for number, film in enumerate(films_of(root), start=1):
        os.utime(film, (LATER - number, LATER - number))
    first = films.open(cache)
    assert source(root, {"name": reader, **films.model_dump()}).open(cache).index.equals(first.index)
    assert listed == [reader]
    change(root)
    with suppress(DataError):  # whatever a full look says to what is missing now
        films.open(cache)
    assert listed == [reader] * 2


def test_what_else_must_be_looked_at_again(tmp_path: Path, listed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = tmp_path / ROOT, tmp_path / "cache"
    parameters = sample_hospitals.folder(root, usual("folder"))
    films = source(root, parameters)
    films.open(cache)
    films.open(cache)
    assert len(listed) == 1

    source(root, {**parameters, "size": 24}).open(cache)
    assert len(listed) == 2
    assert films.open(cache).size == (sample_hospitals.SIZE, sample_hospitals.SIZE)
    assert len(listed) == 2  # each has a note of its own

    secret = tmp_path / "another"
    secret.write_text("5f" * 32)
    secret.chmod(0o600)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("FEDCXR_SECRET_FILE", str(secret))
        theirs = films.open(cache)
    assert len(listed) == 3
    assert not set(theirs.patients) & set(films.open(cache).patients)
    assert len(listed) == 3

    with monkeypatch.context() as newer:
        newer.setattr(
            "fedcxr.data._fingerprint.inspect.getfile", lambda reader: __file__
        )  # another version of the reader
        films.open(cache)
    assert len(listed) == 4

    for note in cache.glob("*.seen"):
        note.write_text("nonsense")
    films.open(cache)
    assert len(listed) == 5
    for shard in cache.glob("folder-*/manifest.json"):
        shard.unlink()
        for other in shard.parent.iterdir():
            other.unlink()
        shard.parent.rmdir()
    assert len(films.open(cache)) == 6


def test_tables_and_lists_elsewhere_are_watched_too(tmp_path: Path, listed: list[str]) -> None:
    root, cache = tmp_path / ROOT, tmp_path / "cache"
    parameters = sample_hospitals.folder(root, usual("folder"))
    table, lists = tmp_path / "table.csv", {split: tmp_path / split for split in ("train", "test")}
    (root / "metadata.csv").rename(table)
    lists["train"].write_text("\n".join(usual("folder").patients[:2]))
    lists["test"].write_text(usual("folder").patients[2])
    splits = {"by": "lists", **{split: str(file) for split, file in lists.items()}}
    films = source(root, {**parameters, "table": str(table), "splits": splits})
    assert isinstance(films, Folder)
    films.open(cache)
    for count, file in enumerate((table, *lists.values()), start=1):
        films.open(cache)
        assert len(listed) == count
        os.utime(file, (LATER, LATER))
        films.open(cache)
        assert len(listed) == count + 1


def test_a_cache_that_may_only_be_read_serves_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = tmp_path / ROOT, tmp_path / "cache"
    films = source(root, sample_hospitals.nih(root, usual("nih")))
    films.open(cache)
    for note in cache.glob("*.seen"):
        note.unlink()

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError

    monkeypatch.setattr("fedcxr.storage.disk.os.fsync", refuse)
    assert len(films.open(cache)) == 6
    assert not list(cache.glob("*.seen"))
