"""CheXpert as people have it on disk, what -1 and blank count as, and the real table."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.cohort import COLUMNS
from fedcxr.data._listing import InTable
from fedcxr.data._pseudonyms import site_secret
from fedcxr.data.chexpert import FINDINGS, LABELS, Chexpert, read_films
from fedcxr.errors import DataError
from fedcxr.plugins import build

pytestmark = pytest.mark.usefixtures("secret_file")

HEADER = ",".join(("Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding", *LABELS))


def row(path: str, sex: str = "Female", age: str = "68", view: str = "Frontal,AP", labels: str = "," * 13) -> str:
    return f"CheXpert-v1.0-small/{path},{sex},{age},{view},{labels}"


def labels(**states: str) -> str:
    """The last fourteen fields of a row."""
    return ",".join(states.get(name.replace(" ", "_"), "") for name in ("No Finding", *LABELS))


TRAIN = (
    row("train/patient00001/study1/view1_frontal.jpg", labels=labels(No_Finding="1.0", Support_Devices="1.0")),
    row("train/patient00002/study2/view1_frontal.jpg", "Male", "0", "Frontal,PA", labels(Edema="-1.0", Fracture="0.0")),
    row("train/patient00002/study2/view2_lateral.jpg", "Male", "87", "Lateral,", labels(Edema="-1.0")),
    row("train/patient00002/study11/view1_frontal.jpg", "Male", "88", "Frontal,LL", labels(Pleural_Effusion="1.0")),
)
VALID = (row("valid/patient64541/study1/view1_frontal.jpg", "Unknown", "90"),)

Download = Callable[..., Path]


@pytest.fixture
def download(tmp_path: Path) -> Download:
    """A small download of (empty) images with both tables."""

    def make(train: tuple[str, ...] = TRAIN, valid: tuple[str, ...] = VALID, header: str = HEADER) -> Path:
        home = tmp_path / "CheXpert-v1.0-small"
        for line in (*train, *valid):
            film = tmp_path / line.partition(",")[0]
            film.parent.mkdir(parents=True, exist_ok=True)
            film.touch()
        home.mkdir(exist_ok=True)
        (home / "train.csv").write_text("\n".join((header, *train)) + "\n")
        if valid:
            (home / "valid.csv").write_text("\n".join((header, *valid)) + "\n")
        return home

    return make


def chexpert(root: Path, **parameters: object) -> Chexpert:
    source = build("source", {"name": "chexpert", "root": str(root), **parameters})
    assert isinstance(source, Chexpert)
    return source


def by_file(source: Chexpert, root: Path) -> pd.DataFrame:
    """The index under the paths of its files."""
    listing = source.listing()
    return listing.index.set_index(pd.Index([str(file.relative_to(root)) for file in listing.files])).sort_index()


def test_a_download_is_read(download: Download) -> None:
    home = download()
    listing = chexpert(home).listing()
    assert listing.findings == FINDINGS
    assert listing.spellings["Pleural Effusion"] == "Effusion"
    assert set(listing.spellings) == set(LABELS)
    assert tuple(listing.index.columns) == (*COLUMNS, *FINDINGS)
    assert all(file.is_file() for file in listing.files)
    index = by_file(chexpert(home), home)
    assert index["visit"].tolist() == [1, 11, 2, 1]
    assert index["view"].tolist() == ["AP", "LL", "PA", "AP"]
    assert index["sex"].tolist() == ["F", "M", "M", "U"]
    np.testing.assert_array_equal(index["age"], [68, 88, np.nan, 90])
    assert index["patient"].nunique() == 3
    assert index["patient"].iloc[1] == index["patient"].iloc[2]
    assert index["split"].iloc[3] == "val"
    assert set(index["split"].iloc[:3]) <= {"train", "test"}
    assert set(index["source"]) == {"chexpert"}
    assert index["Effusion"].tolist() == [0, 1, 0, 0]
    assert [note.reason for note in listing.notes] == ["unknown age: '0'"]
    assert listing.notes[0].file == "train.csv, line 3"


def test_the_folder_around_the_download_will_do(download: Download) -> None:
    home = download()
    assert len(chexpert(home.parent).listing().files) == 4
    (home.parent / "CheXpert-v1.0").mkdir()
    (home.parent / "CheXpert-v1.0" / "train.csv").touch()
    with pytest.raises(DataError, match=r"train.csv in 2 folders") as caught:
        chexpert(home.parent).listing()
    assert caught.value.exit_code == 3


def test_lateral_films_on_request(download: Download) -> None:
    home = download()
    index = by_file(chexpert(home, views="all"), home)
    assert index["view"].tolist() == ["AP", "LL", "PA", "LATERAL", "AP"]


@pytest.mark.parametrize(("policy", "expected"), [("zeros", 0.0), ("ones", 1.0), ("ignore", np.nan)])
def test_uncertain_mentions(download: Download, policy: str, expected: float) -> None:
    home = download()
    index = by_file(chexpert(home, uncertain=policy), home)
    np.testing.assert_array_equal(index["Edema"], np.array([0, 0, expected, 0], dtype=np.float32))


def test_no_mention(download: Download) -> None:
    home = download()
    index = by_file(chexpert(home, blank="ignore"), home)
    np.testing.assert_array_equal(index["Fracture"], [0, np.nan, 0, np.nan])  # none, blank, 0, blank
    np.testing.assert_array_equal(index["Support_Devices"], [1, np.nan, np.nan, np.nan])
    assert not by_file(chexpert(home), home)[list(FINDINGS)].isna().any(axis=None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (row("train/patient1/study1/view1_frontal.jpg"), "not the path of a film; given: 1 rows, in lines 6"),
        (row("train/../../patient00009/study1/view1_frontal.jpg"), "not the path of a film"),
        (row("train/patient00009/study1/view1_lateral.jpg"), "Frontal/Lateral contradicts the path"),
        (row("train/patient00009/study1/view1_frontal.jpg", view="Oblique,"), "not a side"),
        (row("train/patient00009/study1/view1_frontal.jpg", view="Frontal,XX"), "not a projection"),
        (row("train/patient00009/study1/view1_frontal.jpg", sex="?"), "not a sex"),
        (row("train/patient00009/study1/view1_frontal.jpg", labels=labels(Edema="2.0")), "Edema: unknown state"),
        (TRAIN[1], "the same image stands twice; given: 2 rows, in lines 3, 6"),
    ],
)
def test_bad_rows_are_named_by_their_line(download: Download, line: str, complaint: str) -> None:
    home = download()
    (home / "train.csv").write_text("\n".join((HEADER, *TRAIN, line)))
    with pytest.raises(DataError) as caught:
        chexpert(home).listing()
    assert complaint in str(caught.value)
    assert "patient00009" not in str(caught.value)


def test_missing_tables_columns_and_images(download: Download, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds not one CheXpert download") as caught:
        chexpert(tmp_path).listing()
    assert caught.value.exit_code == 3
    with pytest.raises(DataError, match="lacks columns; given: Edema"):
        chexpert(download(header=HEADER.replace("Edema", "Oedema"))).listing()
    home = download()
    (home / "train/patient00001/study1/view1_frontal.jpg").unlink()
    missing = chexpert(home).listing()
    assert [problem.reason for problem in missing.problems] == ["missing"]
    assert missing.table == InTable(films=4, patients=3)
    listing = chexpert(home, allow_missing=True).listing()
    assert len(listing.index) == len(listing.files) == 3
    assert ("train/patient00001/study1/view1_frontal.jpg", "missing") in [(n.file, n.reason) for n in listing.notes]


def test_without_valid_csv_val_is_carved_out_too(download: Download) -> None:
    train = tuple(row(f"train/patient{i:05d}/study1/view1_frontal.jpg") for i in range(200))
    splits = chexpert(download(train, ())).listing().index["split"].value_counts()
    assert splits["train"] > splits["test"] > splits["val"] > 0


def test_a_patient_of_both_tables_is_named_by_pseudonym(download: Download) -> None:
    home = download(valid=(row("valid/patient00001/study1/view1_frontal.jpg"),))
    with pytest.raises(DataError, match="more than one split") as caught:
        chexpert(home).listing()
    (name,) = site_secret().names("patient", "chexpert", ["patient00001"])
    assert name in str(caught.value)
    assert "patient00001" not in str(caught.value)


def test_lists_of_films_or_of_patients(download: Download) -> None:
    home = download()
    lists = {
        "a": "patient00001\n",
        "b": "CheXpert-v1.0/train/patient00002/study2/view1_frontal.jpg\npatient00002",
        "c": "valid/patient64541/study1/view1_frontal.jpg",
    }
    for name, text in lists.items():
        (home / name).write_text(text)
    index = by_file(chexpert(home, splits={"by": "lists", "train": "a", "val": "b", "test": "c"}), home)
    assert index["split"].tolist() == ["train", "val", "val", "test"]


def test_nothing_of_a_path_survives(download: Download) -> None:
    home = download()
    listing = chexpert(home, views="all").listing()
    written = listing.index.to_csv()
    for file in listing.files:
        for part in file.relative_to(home).parts[1:]:
            assert part not in written
    assert listing.index["image"].is_monotonic_increasing


# --- any table ----------------------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(["a/train/patient00001/study1/view1_frontal.jpg", "Female", "Frontal", "AP", "1.0", "-1", "", "é"]),
    st.text(max_size=12),
)


@settings(max_examples=60)
@given(
    header=st.one_of(st.just(HEADER), st.text(max_size=40)),
    rows=st.lists(
        st.one_of(st.lists(CELLS, max_size=20), st.sampled_from(TRAIN).map(lambda x: x.split(","))), max_size=4
    ),
    tail=st.binary(max_size=20),
    packed=st.booleans(),
)
def test_any_table_is_read_or_refused(header: str, rows: list[list[str]], tail: bytes, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        text = "\n".join([header, *(",".join(row) for row in rows)]).encode("utf-8", "replace") + tail
        (root / ("train.csv.gz" if packed else "train.csv")).write_bytes(gzip.compress(text) if packed else text)
        (root / "train/patient00001/study1").mkdir(parents=True)
        (root / "train/patient00001/study1/view1_frontal.jpg").touch()
        try:
            listing = chexpert(root, allow_missing=True, views="all").listing()
        except DataError:
            return
        assert len(listing.index) == len(listing.files)
        assert len(listing.index) or listing.problems


# --- the real table -----------------------------------------------------------------------------------------------


def test_the_real_table(real: Callable[[str], Path]) -> None:
    films, notes = read_films(real("chexpert_meta/chexpert_train.csv.gz"), uncertain="ignore")
    assert len(films) == 223_414
    assert films["patient"].nunique() == 64_540
    frontal = films[films["view"] != "LATERAL"]
    assert len(frontal) == 191_027
    assert len(notes) == films["age"].isna().sum() == 3
    assert int((films["Effusion"] == 1).sum()) == 86_187
    assert int(films["Effusion"].isna().sum()) == 11_628
