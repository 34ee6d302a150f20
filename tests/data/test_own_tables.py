"""Tables as hospitals write them: any encoding and separator, usual names of columns, labels that mislead."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.data._dialect import SEPARATORS, Dialect, plain
from fedcxr.data._guess import NEEDED, USUAL, Guess, LacksColumns
from fedcxr.data._odd_labels import odd
from fedcxr.data._own_table import Findings, OwnTable
from fedcxr.errors import DataError

LETTERS = st.sampled_from("aZ1 ÄßéŠ€,;|'\"[]")
TEXTS = st.text(LETTERS, max_size=8).map(str.strip)
ROWS = st.lists(st.tuples(TEXTS.filter(bool), TEXTS), min_size=1, max_size=6)


@settings(max_examples=80)
@given(
    rows=ROWS,
    extra=st.text(LETTERS, max_size=6),
    separator=st.sampled_from(list(SEPARATORS)),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    extra: str,
    separator: str,
    encoding: str,
    quoting: Literal[0, 1],
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator="\r\n")
    writer.writerows([("File Name", "Patient-ID", f"{extra}, [x|y;z]"), *((*row, extra) for row in rows)])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    table = OwnTable.at(path)
    assert table.names[:2] == ("File Name", "Patient-ID")
    read = table.read(["Patient-ID", "File Name"]).rows
    assert read.to_numpy().tolist() == [[patient, name] for name, patient in rows]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("Größe;Pat\n1;2\n".encode("cp1252"), "Windows-1252 (Latin-1), columns between semicolons"),
        (b"a,b\n", "UTF-8, columns between commas"),
    ],
)
def test_a_dialect_is_told(data: bytes, said: str) -> None:
    assert str(Dialect.of(data)) == said


def test_a_workbook_is_named_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(DataError, match=r"t\.csv: this is a workbook.*save its sheet as CSV"):
        OwnTable.at(tmp_path / "t.csv")


def spelt(name: str, style: int) -> str:
    return [name, name.upper(), "_".join(name), f" {name.title()} ".strip(), name.replace("id", " ID")][style]


@settings(max_examples=60)
@given(
    image=st.sampled_from(USUAL["image"]),
    patient=st.sampled_from(USUAL["patient"]),
    styles=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    others=st.lists(st.text(max_size=8).filter(lambda text: not any(plain(text) in names for names in USUAL.values()))),
)
def test_usual_names_are_found_and_of_two_none_is_taken(
    image: str, patient: str, styles: tuple[int, int], others: list[str]
) -> None:
    names = [*others, spelt(image, styles[0]), spelt(patient, styles[1])]
    guess = Guess.of(dict.fromkeys(USUAL), names, "t.csv")
    assert [guess.columns[ours] for ours in NEEDED] == names[-2:]
    assert set(guess.guessed) == set(NEEDED)
    said = {**dict.fromkeys(USUAL), "patient": "theirs"}
    assert Guess.of(said, names, "t.csv").columns["patient"] == "theirs"
    with pytest.raises(LacksColumns, match=r"several columns may be the patient.*--columns patient=NAME"):
        Guess.of(dict.fromkeys(USUAL), [*names[:-1], "Subject", "person"], "t.csv")


def test_what_may_travel_names_no_column() -> None:
    """A table without a header begins with a film and its patient."""
    with pytest.raises(LacksColumns) as caught:
        Guess.of(dict.fromkeys(USUAL), ["0001.png", "Eva Mueller"], "t.csv")
    assert "Mueller" not in str(caught.value)
    assert "2 columns" in str(caught.value)
    assert "one of its columns: 0001.png, Eva Mueller; say --columns image=NAME,patient=NAME" in str(
        caught.value.in_full
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image,covid,Pleural Effusion\na,1,0\n", Findings(columns=("Pleural Effusion",))),
        ("image,Finding Labels\na,Mass|Nodule\n", Findings(label="Finding Labels")),
        ('image,finding\na,"Mass, Nodule"\nb,Mass\n', Findings(label="finding", separator=",")),
        ('image,finding\na,"Mass, left"\nb,Mass\n', Findings(label="finding")),
        ("image,label,diagnosis\na,x,y\n", Findings()),
        ("image,Mass\na,large\n", Findings()),
    ],
)
def test_findings_are_guessed(tmp_path: Path, text: str, found: Findings) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert Findings().guessed(OwnTable.at(tmp_path / "t.csv"), ["image"]) == found


NO_FINDING = """'No Finding' (7 films) counts as a finding; it is left out by --set 'findings.only=["Mass"]'"""


@pytest.mark.parametrize(
    ("films", "said"),
    [
        ({"No Finding": 7, "Mass": 1}, [NO_FINDING]),
        (
            {"Mass": 1, "Mass, Nodule": 2},
            ["'Mass, Nodule' (2 films) may be several", "films of 'Mass, Nodule' (2) count as films without Mass"],
        ),
        ({"COVID-19": 3, "Pneumonia": 2}, ["films of 'COVID-19' (3) count as films without Pneumonia"]),
        ({"viral": 3, "bacterial": 2}, []),
        ({"Mass": 3, "pleural effusion": 2}, []),
    ],
)
def test_odd_labels_are_doubted(films: dict[str, int], said: list[str]) -> None:
    doubts = odd(films)
    assert len(doubts) == len(said)
    assert all(doubt.startswith(start) for doubt, start in zip(doubts, said, strict=True))
