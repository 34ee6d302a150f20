"""Who is read worse than others: women or men, the old or the young, one hospital or the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.rng import stream
from fedcxr.tasks._findings import Scored
from fedcxr.tasks._subgroups import AGES, groups_of, in_words, subgroups

FILMS = 240


def films() -> pd.DataFrame:
    number = np.arange(FILMS)
    return pd.DataFrame(
        {
            "sex": np.array(["F", "M", "U"], dtype=object)[number % 3],
            "age": np.where(number % 7 == 0, np.nan, number % 90),
            "source": np.where(number % 2 == 0, "charite", "mercy"),
        }
    )


def scored(worse: np.ndarray | None = None) -> Scored:
    """Two findings that are told well, but on the films that are `worse`, where scores are noise."""
    rng = stream(0, "subgroups")
    labels = (rng.random((FILMS, 2)) < 0.4).astype(np.float32)
    scores = labels + rng.normal(0, 0.3, labels.shape).astype(np.float32)
    if worse is not None:
        scores[worse] = rng.normal(size=(worse.sum(), 2))
    patients = np.array([f"p{film // 2}" for film in range(FILMS)], dtype=object)
    return Scored(labels, scores.astype(np.float32), patients, ("Mass", "Nodule"))


def test_the_group_that_is_read_worst_is_named_with_an_interval_below_all_others() -> None:
    index = films()
    told = subgroups(scored((index["sex"] == "M").to_numpy()), groups_of(index), 0, 200, 5)
    assert told["sex"]["worst"] == "M"
    women, men = (told["sex"]["groups"][name]["mean_auc"] for name in ("F", "M"))
    assert men["ci95"][1] < women["ci95"][0]
    assert told["sex"]["groups"]["F"]["films"] == 80
    assert in_words(told)[0].startswith("trained, by sex: worst M 0.")
    assert in_words(told)[0].endswith("(over 2 findings)")


def test_nobody_is_the_worst_of_whom_there_is_but_one_or_who_has_too_few_films() -> None:
    index = films().assign(sex="F")
    index["source"] = np.where(np.arange(FILMS) < 4, "charite", "mercy")
    told = subgroups(scored(), groups_of(index), 0, 20, 5)
    assert "sex" not in told
    assert told["site"]["worst"] is None
    assert told["site"]["findings"] == 0
    assert {group["mean_auc"]["value"] for group in told["site"]["groups"].values()} == {None}
    assert in_words({"site": told["site"]}) == ()


@given(st.lists(st.one_of(st.none(), st.floats(0, 120)), min_size=1, max_size=20))
def test_every_age_is_of_one_group_and_an_unknown_one_of_none(ages: list[float | None]) -> None:
    index = pd.DataFrame({"sex": "U", "age": ages, "source": "charite"})
    groups = groups_of(index)
    assert set(groups["age"]) == set(AGES)
    known = [age is not None for age in ages]
    assert np.sum(list(groups["age"].values()), axis=0).tolist() == known
    assert not np.any(list(groups["sex"].values()))
