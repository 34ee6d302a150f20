"""A hospital's own folder and table: what its columns mean, what is refused, and what never leaves it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fedcxr.cohort import COLUMNS, FINDINGS
from fedcxr.data import _demographics
from fedcxr.data._own_table import MOST_LABELS
from fedcxr.data._vocabulary import VOCABULARY
from fedcxr.data.folder import Folder
from fedcxr.errors import ConfigError, DataError, FedcxrError
from fedcxr.plugins import build

pytestmark = pytest.mark.usefixtures("secret_file")

Real = Callable[[str], Path]
Make = Callable[..., Path]


def source(root: Path, **parameters: Any) -> Folder:
    built = build("source", {"name": "folder", "root": str(root), **parameters})
    assert isinstance(built, Folder)
    return built


def by_file(folder: Folder) -> pd.DataFrame:
    """The index under the files' names, which only the hospital can tell."""
    listing = folder.listing()
    return listing.index.assign(file=[file.name for file in listing.files]).set_index("file").sort_index()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A folder with this table and a small film for each of its images."""

    def folder(films: bool = True, **columns: list[Any]) -> Path:
        table = pd.DataFrame(columns)
        table.to_csv(tmp_path / "metadata.csv", index=False)
        (tmp_path / "images").mkdir(exist_ok=True)
        for i, name in enumerate(columns.get("image", [])):
            if films:
                Image.fromarray(np.full((20, 20), i, np.uint8)).save(tmp_path / "images" / name)
        return tmp_path

    return folder


FOUR = {"image": ["a.png", "b.png", "c.png", "d.png"], "patient": [1, 1, 2, 3]}


def test_image_and_patient_are_enough(make: Make) -> None:
    folder = source(make(**FOUR))
    listing = folder.listing()
    assert set(listing.index.columns) == {*COLUMNS, *FINDINGS}
    assert listing.index[list(FINDINGS)].isna().all().all()
    films = by_file(folder)
    assert films["visit"].tolist() == [0, 1, 0, 0]
    assert films["patient"].nunique() == 3
    assert films["patient"].iloc[0] == films["patient"].iloc[1]
    assert set(films["source"]) == {"folder"}
    assert films["view"].tolist() == [""] * 4
    assert set(films["sex"]) == {"U"}


def test_columns_mean_what_the_scenario_says(make: Make) -> None:
    root = make(
        **FOUR,
        day=["2020-03-02", "2020-03-01", "", "2021-01-01"],
        projection=["AP Supine", "pa", "lateral", "oblique"],
        years=["62.0", "018M", "411", "058Y"],
        gender=["male", "F", "", "x"],
        ward=["St. Mary, ICU", "St. Mary, ICU", "Albany", "Albany"],
        part=["train", "Training", "valid", "test"],
        Mass=[1, 0, "", "yes"],
    )
    columns = {"visit": "day", "view": "projection", "age": "years", "sex": "gender", "source": "ward", "split": "part"}
    films = by_file(source(root, columns=columns, findings={"columns": ["Mass"]}, called="north"))
    assert films["visit"].tolist() == [1, 0, 0, 0]
    assert films["view"].tolist() == ["AP", "PA", "LATERAL", ""]
    assert films["age"].fillna(-1).tolist() == [62, 1.5, -1, 58]
    assert films["sex"].tolist() == ["M", "F", "U", "U"]
    assert films["source"].tolist() == ["north-2", "north-2", "north-1", "north-1"]
    assert films["split"].tolist() == ["train", "train", "val", "test"]
    assert films["Mass"].fillna(-1).tolist() == [1, 0, -1, 1]


def test_lateral_films_are_left_out_on_request(make: Make) -> None:
    root = make(**FOUR, projection=["PA", "LL", "oblique", "lateral"])
    (root / "images" / "d.png").unlink()  # what is not wanted need not be there
    told = {"view": "projection"}
    assert by_file(source(root, columns=told, views="frontal"))["view"].to_dict() == {"a.png": "PA", "c.png": ""}
    assert not source(root, columns=told, views="frontal").listing().problems
    assert len(source(root, columns=told).listing().index) == 3
    with pytest.raises(DataError, match=r"names no film.*views frontal"):
        source(make(**{**FOUR, "projection": ["LL"] * 4}), columns=told, views="frontal").listing()


def test_words_become_findings(make: Make) -> None:
    root = make(**FOUR, label=["viral| bacterial", "normal", "", "viral|"])
    listing = source(root, findings={"label": "label"}).listing()
    assert listing.findings == ("bacterial", "normal", "viral")
    films = by_file(source(root, findings={"label": "label"}))
    assert films[list(listing.findings)].fillna(-1).to_numpy().tolist() == [[1, 0, 1], [0, 1, 0], [-1] * 3, [0, 0, 1]]
    assert source(root, findings={"label": "label", "only": ["viral"]}).listing().findings == ("viral",)


def test_findings_get_the_names_of_the_vocabulary(make: Make) -> None:
    root = make(
        **FOUR,
        **{"covid": [1, 0, 0, 0], "Pleural Effusion": [0, 1, 0, 0], "Lung lesion": [0, 0, 1, ""]},
        label=["pleural_effusion", "Effusion|covid", "infiltrate", ""],
    )
    columns = ["covid", "Lung lesion", "Pleural Effusion"]
    listing = source(root, findings={"columns": columns}).listing()
    assert listing.findings == ("Effusion", "Lung_Lesion", "covid")  # in everybody's order
    assert listing.spellings == {"covid": "covid", "Pleural Effusion": "Effusion", "Lung lesion": "Lung_Lesion"}
    films = by_file(source(root, findings={"columns": columns}))
    assert films["Effusion"].tolist() == [0, 1, 0, 0]
    assert films["Lung_Lesion"].fillna(-1).tolist() == [0, 0, 1, -1]

    words = source(root, findings={"label": "label"})
    assert words.listing().findings == ("Effusion", "Infiltration", "covid")
    assert words.listing().spellings["pleural_effusion"] == words.listing().spellings["Effusion"] == "Effusion"
    assert by_file(words)["Effusion"].fillna(-1).tolist() == [1, 1, 0, -1]  # either spelling shows it
    some = source(root, findings={"label": "label", "only": ["Infiltration"]}).listing()
    assert (some.findings, some.spellings) == (("Infiltration",), {"infiltrate": "Infiltration"})


def test_the_report_tells_the_mapping(make: Make) -> None:
    root = make(**FOUR, **{"covid": 0, "Pleural Effusion": 1, "Lung Lesion": 0, "Mass": 1})
    report = source(root, findings={"columns": ["covid", "Pleural Effusion", "Lung Lesion", "Mass"]}).check()
    lines = report.to_text().splitlines()
    start = lines.index("finding <- as the source writes it")
    assert lines[start + 1 : start + 5] == [
        "  Effusion <- Pleural Effusion",
        "  Lung_Lesion <- Lung Lesion  (a nodule or a mass: Nodule and Mass stay unknown)",
        "  covid  (of its own)",
        "not looked for, so unknown: Atelectasis, Cardiomegaly, Consolidation, Edema, Emphysema, Fibrosis,",
    ]
    told = {row["finding"]: row["spellings"] for row in json.loads(report.to_json())["mapping"]}
    assert set(told) == {*VOCABULARY, "covid"}
    assert (told["Effusion"], told["Mass"], told["Hernia"]) == (["Pleural Effusion"], ["Mass"], [])
    nothing = source(make(**FOUR)).check()
    assert "finding <-" not in nothing.to_text()
    assert not any(meaning.spellings for meaning in nothing.mapping)


def test_a_film_keeps_its_pixels_and_its_labels(make: Make, tmp_path: Path) -> None:
    """Rows are shuffled by pseudonym: pixels, labels and patients must move together."""
    cohort = source(make(**FOUR, Mass=[0, 1, 0, 1]), size=16, findings={"columns": ["Mass"]}).open(tmp_path / "cache")
    assert sorted(cohort.films().max(axis=(1, 2)).tolist()) == [0, 1, 2, 3]
    assert (cohort.films().max(axis=(1, 2)) % 2 == cohort.labels[:, 0]).all()
    first_two = cohort.films().max(axis=(1, 2)) < 2
    assert len(set(cohort.patients[first_two])) == 1


def test_nothing_of_a_name_or_a_path_enters_the_index(make: Make) -> None:
    root = make(image=["mueller.png"], patient=["Eva-4711"], ward=["Klinik Nord"], view=["PA Mueller"], sex=["Eva"])
    index = source(root, columns={"source": "ward", "view": "view", "sex": "sex"}).listing().index
    told = index.to_csv().lower()
    for text in ("mueller", "eva", "4711", "klinik", "nord", str(root).lower(), ".png"):
        assert text not in told


def test_two_names_make_two_persons_of_one_number(make: Make) -> None:
    root = make(**FOUR)
    one, two = (set(source(root, called=name).listing().index["patient"]) for name in ("north", "south"))
    assert not one & two


# Refused --------------------------------------------------------------------------------------------------------------


def test_what_lies_outside_the_folder_is_refused(make: Make, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    names = [
        "in.png",
        "link.png",
        "../outside.png",
        str(outside),
        "away/x.png",
        "..\\other.png",
        "gone.png",
        "images",
    ]
    make(films=False, image=names, patient=list(range(len(names))))
    images = tmp_path / "images"
    for path in (outside, images / "in.png"):
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.png").touch()
    (images / "images").mkdir()
    (images / "link.png").symlink_to(outside)
    (images / "away").symlink_to(tmp_path / "elsewhere")
    listing = source(tmp_path).listing()
    assert [file.name for file in listing.files] == ["in.png"]
    assert {problem.file: problem.reason for problem in listing.problems} == {
        **dict.fromkeys(
            ("link.png", "../outside.png", str(outside), "away/x.png", "../other.png"), "outside the folder"
        ),
        "gone.png": "missing",
        "images": "not a regular file",
    }


def test_links_within_the_folder_are_followed(make: Make, tmp_path: Path) -> None:
    make(image=["a.png"], patient=[1])
    (tmp_path / "images/b.png").symlink_to("a.png")
    pd.DataFrame({"image": ["b.png"], "patient": [1]}).to_csv(tmp_path / "metadata.csv", index=False)
    assert not source(tmp_path).listing().problems
    (tmp_path / "door").symlink_to(tmp_path)  # and the folder itself may be a link
    assert not source(tmp_path / "door").listing().problems


@pytest.mark.parametrize(
    ("columns", "parameters", "said"),
    [
        ({"image": ["a.png"]}, {}, "lacks columns.*patient"),
        ({"image": ["a.png"], "patient": [1]}, {"columns": {"age": "years"}}, "lacks columns.*years"),
        ({"image": ["a.png", "a.png"], "patient": [1, 2]}, {}, "same image.*lines 2, 3"),
        ({"image": ["a.png", "./a.png"], "patient": [1, 2]}, {}, "same image"),
        ({"image": ["a.png", "b.png"], "patient": [1, ""]}, {}, "blank.*lines 3"),
        ({"image": [], "patient": []}, {}, "no film"),
        ({**FOUR, "Mass": [0, 1, 2, 0]}, {"findings": {"columns": ["Mass"]}}, "no finding.*lines 4.*0, 1 or blank"),
        ({**FOUR, "split": ["train", "val", "x", "test"]}, {"columns": {"split": "split"}}, "no split.*lines 4"),
        ({**FOUR, "split": ["train", "val", "val", "test"]}, {"columns": {"split": "split"}}, "more than one split"),
        ({**FOUR, "day": ["1", "2020-01-01", "soon", ""]}, {"columns": {"visit": "day"}}, "order of visits.*given: 2"),
        ({**FOUR, "label": list("abcd")}, {"findings": {"label": "label", "only": ["e"]}}, "lacks these words.*e"),
        ({**FOUR, "label": ["age", "b", "c", "d"]}, {"findings": {"label": "label"}}, "cannot be called 'age'"),
    ],
)
def test_a_broken_table_is_one_clear_error(
    make: Make, columns: dict[str, Any], parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        source(make(**columns), **parameters).listing()


def test_a_column_of_names_is_not_taken_for_labels(make: Make) -> None:
    many = MOST_LABELS + 1
    root = make(films=False, image=[f"{i}.png" for i in range(many)], patient=list(range(many)))
    with pytest.raises(DataError, match="does not look like labels"):
        source(root, findings={"label": "patient"}).listing()


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": {"name": "x"}},
        {"findings": {"columns": ["a"], "label": "b"}},
        {"findings": {"columns": ["a", "a"]}},
        {"findings": {"columns": ["Effusion", "Pleural Effusion"]}},
        {"findings": {"label": "b", "only": ["infiltrate", "Infiltration"]}},
        {"findings": {"columns": ["view"]}},
        {"findings": {"only": ["a"]}},
        {"called": "St. Mary / ICU"},
        {"views": "frontal"},
    ],
)
def test_a_wrong_scenario_is_refused_before_the_table_is_read(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        source(tmp_path, **wrong)


def test_a_missing_table_is_said_at_load_time(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such table"):
        source(tmp_path).required_files()


def test_parquet_is_read(make: Make, tmp_path: Path) -> None:
    table = pd.DataFrame({**FOUR, "day": [2.0, 1.0, None, 1.0], "Mass": [1, 0, None, 1]})
    table.to_parquet(tmp_path / "t.parquet")
    films = by_file(source(make(**FOUR), table="t.parquet", columns={"visit": "day"}, findings={"columns": ["Mass"]}))
    assert films["visit"].tolist() == [1, 0, 0, 0]
    assert films["Mass"].fillna(-1).tolist() == [1, 0, -1, 1]
    for damaged in (b"PAR1", (tmp_path / "t.parquet").read_bytes()[:-20]):
        (tmp_path / "t.parquet").write_bytes(damaged)
        with pytest.raises(DataError, match="no Parquet table"):
            source(tmp_path, table="t.parquet").listing()


def test_without_pyarrow_the_error_names_the_extra(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(**FOUR)
    (root / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"\.venv/bin/python -m pip install 'pyarrow>=17'"):
        source(root, table="t.parquet").listing()


@settings(max_examples=60)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: b"image,patient\n" + text.encode()))
def test_any_bytes_are_a_table_or_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "any"
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "metadata.csv").write_bytes(data)
    try:
        listing = source(root, findings={"label": "patient"}).listing()
    except FedcxrError:
        return
    assert not len(listing.index)
    assert listing.problems


# What hospitals write -------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.lists(st.text(max_size=12)))
def test_only_what_is_understood_is_kept(texts: list[str]) -> None:
    written = pd.Series(texts, dtype=object)
    ages = _demographics.ages(written)
    assert (np.isnan(ages) | ((ages >= 0) & (ages <= 120))).all()
    assert set(_demographics.sexes(written)) <= {"M", "F", "U"}
    assert set(_demographics.views(written)) <= {"PA", "AP", "LATERAL", ""}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, [0, 1, 2, 0, 1]),
        (["3", "-1", "3.0", "7", ""], [1, 0, 1, 0, 1]),
        (["20200301", "20191231", "", "20200101", "20200101"], [1, 0, 2, 0, 0]),
        (["2020-03-01T08:00", "2020-03-01T07:59", "2020-03-01", "", ""], [2, 1, 0, 0, 1]),
    ],
)
def test_visits_are_counted_in_order(order: list[str] | None, expected: list[int]) -> None:
    given_order = None if order is None else pd.Series(order, dtype=object)
    assert _demographics.visits(["A", "A", "A", "B", "B"], given_order).tolist() == expected


# Masks ----------------------------------------------------------------------------------------------------------------


def drawn(root: Path, name: str, folder: str = "masks", side: int = 20, mode: str = "L") -> np.ndarray:
    """A mask whose left part is inside, for a film of the fixture."""
    mask = np.zeros((side, side), np.uint8)
    mask[:, : 5 + len(folder)] = 255
    (root / folder).mkdir(exist_ok=True)
    Image.fromarray(mask).convert(mode).save(root / folder / name, format="PNG")
    return mask > 0


def test_masks_come_with_their_films(make: Make, tmp_path: Path) -> None:
    root = make(**FOUR)
    lungs, heart = drawn(root, "b.png"), drawn(root, "b.png", "hearts", mode="1")
    drawn(root, "d.png")
    drawn(root, "z.png")  # of no film
    folder = source(root, masks={"lungs": "masks", "heart": "hearts"}, size=20)
    assert folder.annotations == ("lungs", "heart")
    cohort = folder.open(tmp_path / "cache")
    b = cohort.films()[:, 0, 0] == 1  # the fixture's films are as grey as their number
    assert cohort.films()[cohort.masked("lungs"), 0, 0].tolist() in ([1, 3], [3, 1])
    np.testing.assert_array_equal(cohort.mask("lungs", b)[0], lungs)
    np.testing.assert_array_equal(cohort.mask("heart", b)[0], heart)
    assert folder.check().annotations == {"lungs": 2, "heart": 1}
    small = source(root, masks="masks", size=16).open(tmp_path / "cache")
    assert small.annotations.names == ("lungs",)
    assert small.mask("lungs", small.masked("lungs")).sum(axis=(1, 2)).tolist() == [8 * 16] * 2
    wider = source(root, masks="hearts", size=16).open(tmp_path / "cache")
    # 11 of 20 columns are 8.8 of 16: a pixel is inside if half of it is.
    assert wider.mask("lungs", wider.masked("lungs")).sum() == 9 * 16


def test_a_changed_mask_is_packed_anew(make: Make, tmp_path: Path) -> None:
    root = make(**FOUR)
    drawn(root, "b.png")
    folder = source(root, masks="masks", size=20)
    before = folder.open(tmp_path / "cache")
    assert before.masked("lungs").sum() == 1
    drawn(root, "c.png")
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(root / "masks" / "b.png")
    after = folder.open(tmp_path / "cache")
    assert after.masked("lungs").sum() == 2
    assert after.mask("lungs", after.masked("lungs")).any(axis=(1, 2)).sum() == 1
    assert before.mask("lungs", before.masked("lungs")).any()  # who opened it before still has it


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda masks: drawn(masks.parent, "b.png", side=24), "of another size than its film"),
        (lambda masks: drawn(masks.parent, "b.png", mode="RGB"), "not grey"),
        (lambda masks: (masks / "b.png").write_bytes((masks / "b.png").read_bytes()[:45]), "no PNG that can be read"),
        (lambda masks: ((masks / "b.png").unlink(), (masks / "b.png").symlink_to("/etc/passwd")), "outside the folder"),
    ],
)
def test_an_unusable_mask_is_an_unusable_film(
    make: Make, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    root = make(**FOUR)
    for name in "abcd":
        drawn(root, f"{name}.png")
    spoil(root / "masks")
    folder = source(root, masks="masks", size=20)
    (problem,) = folder.check().problems
    assert (Path(problem.file).name, problem.reason.split(": ")[:2]) == ("b.png", ["mask of the lungs", said])
    with pytest.raises(DataError, match=r"1 mask of the lungs; allowed: at most 0") as caught:
        folder.open(tmp_path / "cache")
    assert "b.png" not in str(caught.value)
    assert len(source(root, masks="masks", size=20, max_bad=1).open(tmp_path / "cache")) == 3


def test_masks_that_are_not_there(make: Make) -> None:
    root = make(**FOUR)
    with pytest.raises(DataError, match="no such folder of masks of the heart"):
        source(root, masks={"heart": "none"}).required_files()
    drawn(root, "e.png")
    with pytest.raises(DataError, match="no film has a mask of the lungs"):
        source(root, masks="masks").listing()
    with pytest.raises(ConfigError, match="masks"):
        source(root, masks={"liver": "masks"})


# Real films -----------------------------------------------------------------------------------------------------------


def test_the_covid_films(real: Real, tmp_path: Path) -> None:
    columns = {
        "image": "filename",
        "patient": "patientid",
        "visit": "offset",
        "view": "view",
        "age": "age",
        "sex": "sex",
    }
    films = source(
        real("covid"), columns={**columns, "source": "url"}, findings={"label": "finding", "separator": ","}, size=32
    )
    cohort = films.open(tmp_path)
    assert len(cohort) == 310
    counts = cohort.index["patient"].value_counts()
    assert (len(counts), int((counts > 1).sum()), int((counts * (counts - 1) // 2).sum())) == (179, 70, 234)
    assert cohort.index["COVID-19"].sum() == 251  # 247, and 4 beside ARDS
    assert cohort.index["source"].nunique() == 130
    assert cohort.index["view"].value_counts().to_dict() == {"PA": 179, "AP": 131}
    assert cohort.films().std() > 30


@pytest.mark.parametrize(("masks", "films"), [("masks_v7", 251), ("masks", 103)])
def test_the_covid_masks(real: Real, tmp_path: Path, masks: str, films: int) -> None:
    """Every mask there is, and on its own film: the lungs are darker than what is around them."""
    told = {"image": "filename", "patient": "patientid"}
    cohort = source(real("covid"), columns=told, masks=masks, size=64).open(tmp_path)
    has = np.flatnonzero(cohort.masked("lungs"))
    assert len(has) == films
    lungs, pictures = cohort.mask("lungs", has), cohort.films(has).astype(float)
    assert 0.1 < lungs.mean() < 0.6
    inside = (pictures * lungs).sum((1, 2)) / lungs.sum((1, 2))
    outside = (pictures * ~lungs).sum((1, 2)) / (~lungs).sum((1, 2))
    assert (inside < outside).mean() > (inside < np.roll(outside, 1)).mean()


def test_the_kermany_films(real: Real) -> None:
    films = source(real("kermany"), columns={"image": "filename", "patient": "group"}, findings={"label": "label"})
    listing = films.listing()
    assert listing.findings == ("bacterial", "normal", "viral")
    assert listing.index[list(listing.findings)].sum().tolist() == [183, 192, 187]
    assert all(file.exists() for file in listing.files)
    assert not listing.problems
