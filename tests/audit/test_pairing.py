"""What can be audited and what cannot: every wrong folder or table is named, and nothing is claimed of it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedcxr.audit._table import Columns
from fedcxr.audit.pairing import Folders, Paired, read
from fedcxr.errors import DataError

SIDE = 20


def silent(what: str, done: int, total: int) -> None:
    pass


def seen(folders: Folders) -> Paired:
    return read(folders, 16, silent)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """30 patients with two films each, which nobody has anonymised."""
    rng, lines = np.random.default_rng(0), ["filename,patient"]
    for side in ("original", "released"):
        (tmp_path / side).mkdir()
    for number in range(60):
        film = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
        for side in ("original", "released"):
            film.save(tmp_path / side / f"{number:02d}.png")
        lines.append(f"{number:02d}.png,patient {number // 2}")
    (tmp_path / "films.csv").write_text("\n".join(lines) + "\n")
    return Folders(tmp_path / "original", tmp_path / "released", tmp_path / "films.csv")


def lines_of(folders: Folders) -> list[str]:
    assert folders.table is not None
    return folders.table.read_text().splitlines()


def with_table(folders: Folders, lines: list[str]) -> Folders:
    assert folders.table is not None
    folders.table.write_text("\n".join(lines) + "\n")
    return folders


def bomb() -> bytes:
    """A PNG of a few bytes that would unpack to ten gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def lone(folders: Folders) -> Folders:
    return with_table(folders, [lines_of(folders)[0], *(f"{n:02d}.png,patient {n}" for n in range(60))])


def eight(folders: Folders) -> Folders:
    return with_table(folders, [lines_of(folders)[0], *(f"{n:02d}.png,patient {n % 8}" for n in range(60))])


def blank(folders: Folders) -> Folders:
    return with_table(folders, [*lines_of(folders)[:-1], "59.png,"])


def twice(folders: Folders) -> Folders:
    return with_table(folders, [*lines_of(folders), "59.png,patient 29"])


def twice_by_ending(folders: Folders) -> Folders:
    return with_table(folders, [*lines_of(folders), "59.jpg,patient 29"])


def nobody(folders: Folders) -> Folders:
    return with_table(folders, ["filename,age", *(line.replace("patient ", "") for line in lines_of(folders)[1:])])


def strangers(folders: Folders) -> Folders:
    for path in folders.released.iterdir():
        path.rename(path.with_name(f"anon-{path.name}"))
    return folders


def empty(folders: Folders) -> Folders:
    for path in folders.released.iterdir():
        path.rename(path.with_suffix(".txt"))
    return folders


def cut(folders: Folders) -> Folders:
    Image.open(folders.released / "07.png").crop((0, 0, SIDE, SIDE - 4)).save(folders.released / "07.png")
    return folders


def damaged(folders: Folders) -> Folders:
    (folders.released / "07.png").write_bytes((folders.released / "07.png").read_bytes()[:80])
    return folders


def exploding(folders: Folders) -> Folders:
    (folders.released / "07.png").write_bytes(bomb())
    return folders


def linked(folders: Folders) -> Folders:
    outside = folders.released.parent / "elsewhere.png"
    (folders.released / "07.png").rename(outside)
    (folders.released / "07.png").symlink_to(outside)
    return folders


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: replace(f, table=None), "nobody knows which films are of one patient"),
        (lambda f: replace(f, table=f.original / "no.csv"), "no such table"),
        (lambda f: replace(f, original=f.original / "no"), "no such folder"),
        (nobody, "lacks patient; has filename, age"),
        (lambda f: replace(f, columns=Columns(source="url")), "lacks url; has filename, patient"),
        (blank, "column 'patient' is blank"),
        (twice, "the same film stands twice"),
        (twice_by_ending, "several rows of the table mean one original film; given: 59.png"),
        (lone, "every patient has one film"),
        (eight, "too few patients: whatever came out, chance could have done it; given: 8 patients"),
        (strangers, "do not belong together; given: 0 pairs of 60 original and 60 released films"),
        (empty, "there is no film in this folder"),
        (cut, "07.png: 20 x 20 original, 20 x 16 released"),
        (damaged, "1: released 07.png: truncated"),
        (exploding, "1: released 07.png: too large: more than 80 million pixels"),
        (linked, "1: 07.png: outside the folder"),
    ],
)
def test_what_cannot_be_audited_is_named(folders: Folders, spoil: Callable[[Folders], Folders], said: str) -> None:
    with pytest.raises(DataError) as refused:
        seen(spoil(folders))
    assert said in str(refused.value)
    assert refused.value.exit_code == 3


def test_films_are_paired_whatever_their_ending_and_folder(folders: Folders) -> None:
    (folders.released / "deep").mkdir()
    for path in list(folders.released.glob("*.png")):
        Image.open(path).resize((2 * SIDE, 2 * SIDE)).save(folders.released / "deep" / f"{path.stem}.jpg", quality=95)
        path.unlink()
    paired = seen(folders)
    assert [pair.original.path.stem for pair in paired.pairs] == [pair.released.path.stem for pair in paired.pairs]
    assert (len(paired), paired.people, paired.several) == (60, 30, 30)
    assert "2 different sizes" in " ".join(paired.notes)
    assert np.abs(paired.originals.astype(int) - paired.released).mean() < 60  # and not 85, as between any two


def test_a_table_says_what_films_are_called_in_the_other_folder(folders: Folders) -> None:
    strangers(folders)
    lines = [f"{line},anon-{line.split(',')[0]}" for line in lines_of(folders)[1:]]
    paired = seen(with_table(folders, ["filename,patient,released", *lines]))
    assert len(paired) == 60
    assert all(pair.released.name == f"anon-{pair.original.name}" for pair in paired.pairs)
    assert (paired.originals == paired.released).all()


def test_columns_may_have_other_names(folders: Folders) -> None:
    with_table(folders, ["file,who", *lines_of(folders)[1:]])
    assert len(seen(replace(folders, columns=Columns(filename="file", patient="who")))) == 60


def test_a_table_says_where_films_are_from_or_says_nothing(folders: Folders) -> None:
    assert seen(folders).sources is None
    head, *lines = lines_of(folders)
    places = ["ward B", "", "ward A"] * 20
    with_table(folders, [f"{head},url", *(f"{line},{place}" for line, place in zip(lines, places, strict=True))])
    assert seen(folders).sources is None
    sources = seen(replace(folders, columns=Columns(source="url"))).take(np.array([0, 1, 2, 3])).sources
    assert sources is not None
    assert (sources[0], sources[1]) == (sources[3], -1)
    assert -1 != sources[2] != sources[0]


def test_originals_may_be_dicom_and_releases_pictures(folders: Folders) -> None:
    from dicoms import dicom  # here: it needs the extra `dicom`

    paths = list(folders.original.iterdir())
    pixels = [np.asarray(Image.open(path)) for path in paths]
    for path, film in zip(paths, pixels, strict=True):
        dicom(path.with_suffix(".dcm"), 4095 - 16 * film.astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
        path.unlink()
    paired = seen(folders)
    assert [pair.original.path.suffix for pair in paired.pairs] == [".dcm"] * 60
    assert [pair.original.path.stem for pair in paired.pairs] == [pair.released.path.stem for pair in paired.pairs]
    assert np.abs(paired.originals.astype(int) - paired.released).mean() < 10  # and not 85, as between any two


@pytest.mark.parametrize("spoil", [damaged, linked])
def test_one_may_go_on_without_unusable_films(folders: Folders, spoil: Callable[[Folders], Folders]) -> None:
    paired = seen(replace(spoil(folders), max_bad=1))
    assert len(paired) == 59
    assert [problem.file.split()[-1] for problem in paired.left_out] == ["07.png"]


def test_squares_are_taken_as_squeezed_and_that_is_told(folders: Folders) -> None:
    for path in folders.original.iterdir():
        Image.open(path).resize((SIDE, 2 * SIDE)).save(path)
    assert "60 released films are square" in " ".join(seen(folders).notes)


def test_of_many_films_whole_patients_are_drawn(folders: Folders) -> None:
    paired = seen(folders)
    drawn = paired.at_most(41, 0)
    assert (len(drawn), drawn.people, drawn.several) == (40, 20, 20)
    assert drawn.pairs == paired.at_most(41, 0).pairs != paired.at_most(41, 1).pairs
    assert paired.at_most(60, 0) is paired


def test_a_rounded_side_is_no_other_shape(folders: Folders) -> None:
    for path in folders.released.iterdir():
        Image.open(path).resize((SIDE - 1, SIDE)).save(path)
    assert len(seen(folders)) == 60
