"""Splits: by patient, the same for ever, and with nobody on two sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.data._splits import Named, Splits, by_chance, by_lists, carve, read_list, refuse_shared_patients
from fedcxr.errors import DataError, StorageError

RANDOM = Splits(by="random")


def people(*names: object) -> np.ndarray:
    return np.array(names, dtype=object)


def named(images: np.ndarray, patients: np.ndarray) -> Named:
    return Named(images, patients, people(*(f"p-{patient}" for patient in patients)))


MANY = people(*(f"patient{i % 8000:05d}" for i in range(16_000)))


def shares(split: np.ndarray) -> list[float]:
    return [float((split == name).mean()) for name in ("train", "val", "test")]


def test_shares_are_met_patient_by_patient() -> None:
    split = by_chance(MANY, RANDOM)
    np.testing.assert_allclose(shares(split), [0.7, 0.1, 0.2], atol=0.02)  # 4 standard errors of 8,000
    assert (split[:8000] == split[8000:]).all()


def test_a_split_is_the_same_for_ever() -> None:
    """Changing it would move patients from test to train in every cohort that exists."""
    names = people(*(f"patient{i}" for i in range(8)))
    assert by_chance(names, RANDOM).tolist() == ["train", "train", "test", "test", "train", "train", "val", "train"]


@given(st.lists(st.text(), min_size=1), st.randoms(use_true_random=False))
def test_who_is_added_later_moves_nobody(names: list[str], rng: object) -> None:
    before = dict(zip(names, by_chance(people(*names), RANDOM), strict=True))
    longer = [*names, *(f"{name}+" for name in names)]
    rng.shuffle(longer)  # type: ignore[attr-defined]
    after = dict(zip(longer, by_chance(people(*longer), RANDOM), strict=True))
    assert all(after[name] == split for name, split in before.items())


def test_another_seed_is_another_split() -> None:
    agree = (by_chance(MANY, RANDOM) == by_chance(MANY, Splits(by="random", seed=1))).mean()
    assert 0.5 < agree < 0.58  # .7^2 + .1^2 + .2^2


def test_extreme_shares() -> None:
    for i, name in enumerate(("train", "val", "test")):
        only = tuple(float(i == j) for j in range(3))
        assert set(by_chance(MANY, Splits(by="random", shares=only))) == {name}


def test_val_is_carved_out_of_train() -> None:
    split = carve(np.where(np.arange(16_000) % 8000 < 6400, "train", "test").astype(object), MANY, "val", RANDOM)
    np.testing.assert_allclose(shares(split), [0.7, 0.1, 0.2], atol=0.02)
    assert (split[:8000] == split[8000:]).all()
    none = Splits(shares=(0.8, 0.0, 0.2))
    assert "val" not in carve(split, MANY, "val", none)[split != "val"]


def test_lists_name_films_or_patients() -> None:
    images, patients = people("a0", "a1", "b0", "c0"), people("a", "a", "b", "c")
    split = by_lists({"train": ["a"], "val": ["b0"], "test": ["c0", "gone"]}, named(images, patients), RANDOM)
    assert split.tolist() == ["train", "train", "val", "test"]


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        ({"train": ["a"], "test": ["b"]}, "films stand in no split list; given: 1 of 4"),
        ({"train": ["a", "b"], "test": ["nobody"]}, "the test list names no film"),
        (
            {"train": ["a", "b"], "test": ["b0", "c"]},
            "name the same films; given: 1 films, in lines 1 of the test list",
        ),
        ({"train": ["", "a", "b0"], "test": ["c0", "", "a1", "b", "c"]}, "2 films, in lines 3, 4 of the test list"),
    ],
)
def test_lists_that_do_not_fit(lists: dict[str, list[str]], complaint: str) -> None:
    images, patients = people("a0", "a1", "b0", "c0"), people("a", "a", "b", "c")
    with pytest.raises(DataError) as caught:
        by_lists(lists, named(images, patients), RANDOM)  # type: ignore[arg-type]
    assert complaint in str(caught.value)


def test_a_patient_on_two_sides_is_named() -> None:
    index = pd.DataFrame({"patient": ["p-x", "p-x", "p-y"], "split": ["train", "train", "test"]})
    refuse_shared_patients(index)
    index.loc[1, "split"] = "test"
    with pytest.raises(DataError, match="1: p-x"):
        refuse_shared_patients(index)


def test_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png\r\n\r\n b.png \n")
    assert read_list(path) == ["a.png", "", "b.png"]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not text"):
        read_list(path)
    with pytest.raises(DataError, match="no such split list"):
        read_list(tmp_path / "none")
    with pytest.raises(StorageError):
        read_list(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shares": (0.7, 0.2, 0.2)},
        {"shares": (1.2, -0.4, 0.2)},
        {"by": "lists"},
        {"by": "lists", "train": "a"},
        {"by": "random", "test": "a"},
        {"by": "chance"},
        {"sead": 1},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        Splits.model_validate(wrong)


def test_lists_are_found_from_the_source(tmp_path: Path) -> None:
    splits = Splits(by="lists", train="a.txt", test="/lists/b.txt")
    assert splits.files(tmp_path) == {"train": tmp_path / "a.txt", "test": Path("/lists/b.txt")}
    assert RANDOM.files(tmp_path) == {}
