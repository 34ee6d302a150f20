"""Two questions, scored by hand; folds that share no patient; identities that mean nothing once they are dealt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.audit._fusion import fused
from fedcxr.audit.scoring import Asked, auc_of, dealt, figures, folds, relative
from fedcxr.rng import stream

# Two folds: patients 0 and 0 and 1, then 2 and 2 and 3.
SIX = Asked(np.array([0, 0, 1, 2, 2, 3]), np.array([0, 0, 0, 1, 1, 1]))


def test_only_films_of_one_fold_are_compared_and_nobody_with_themselves() -> None:
    assert SIX.pairs("film")[2].sum() == 6
    a, b, genuine = SIX.pairs("person")
    assert set(zip(a[genuine].tolist(), b[genuine].tolist(), strict=True)) == {(0, 1), (1, 0), (3, 4), (4, 3)}
    assert not (a == b).any()
    assert (SIX.fold[a] == SIX.fold[b]).all()
    assert (~genuine).sum() == 8  # 0-2, 1-2, 3-5, 4-5, both ways


def test_figures_by_hand() -> None:
    scores = np.full((6, 6), np.nan, dtype=np.float32)
    scores[:3, :3] = [[9, 5, 1], [5, 9, 6], [1, 2, 9]]
    scores[3:, 3:] = [[90, 50, 10], [50, 90, 60], [10, 20, 90]]  # the same in another network's units
    found = figures(scores, SIX, "person", 0)
    # In each fold the genuine 5 and 5 against the impostors 1, 6, 1, 2.
    assert found["auc"]["value"] == pytest.approx(6 / 8)
    assert (found["rank1"], found["queries"]) == (0.5, 4)  # film 1 is taken for 2, and 4 for 5
    assert found["rank1_by_chance"] == pytest.approx(1 / 2)
    assert figures(scores, SIX, "film", 0)["auc"]["value"] == 1.0
    assert figures(scores, SIX, "film", 0)["rank1"] == 1.0
    alike = relative(scores, SIX)
    assert np.allclose(alike[:3, :3], alike[3:, 3:], atol=1e-5)


def test_who_recognises_a_device_finds_nobody_among_films_of_that_device() -> None:
    patients, device = np.repeat(np.arange(24), 2), np.repeat([0, 1, 2, -1], 12)
    asked = Asked(patients, np.zeros(48, dtype=np.int64), device)
    said = (device[:, None] == device[None]).astype(np.float32)
    found = figures(said, asked, "person", 0)
    assert found["auc"]["value"] > 0.85
    assert found["same_source_auc"]["value"] == pytest.approx(0.5)
    near = asked.among_one_source()
    assert near is not None
    a, b, genuine = near.pairs("person")
    assert (device[a] == device[b])[~genuine].all()
    assert (device[a][~genuine] >= 0).all()  # of two films nobody knows where from it is not known either
    assert genuine.sum() == 48
    assert figures(said, Asked(patients, asked.fold), "person", 0)["same_source_auc"] is None
    apart = Asked(patients, asked.fold, patients)  # every patient has a device to themselves
    assert figures(said, apart, "person", 0)["same_source_auc"] == {"value": None, "ci95": None}


def test_what_is_said_of_single_films_links_nobody() -> None:
    """Patients with many films look ill, and an attacker who sees that has not seen who they are."""
    patients = np.repeat(np.arange(30), [6] * 6 + [1] * 24)
    asked = folds(patients, 2, stream(0))
    ill = (patients < 6).astype(np.float32)
    said = ill[:, None] + ill[None] + stream(1).normal(0, 0.1, (len(ill), len(ill))).astype(np.float32)
    said = np.where(asked.compared, said, np.nan).astype(np.float32)
    assert auc_of(said, asked, "person") > 0.8
    assert auc_of(relative(said, asked), asked, "person") == pytest.approx(0.5, abs=0.06)


@given(st.lists(st.integers(1, 5), min_size=4, max_size=30), st.integers(2, 4), st.integers(0, 5))
def test_no_patient_is_in_two_folds_and_films_stay_in_theirs(films: list[int], number: int, seed: int) -> None:
    patients = np.repeat(np.arange(len(films)), films)
    asked = folds(patients, number, stream(seed))
    assert all(len(set(asked.fold[patients == patient])) == 1 for patient in range(len(films)))
    assert set(asked.fold) == set(range(number))
    order = dealt(asked, stream(seed, "dealt"))
    assert sorted(order) == list(range(len(patients)))
    assert (asked.fold[order] == asked.fold).all()


@given(st.integers(0, 20))
def test_where_both_sides_are_dealt_even_who_owns_most_films_is_not_found(seed: int) -> None:
    """A perfect attacker, and a patient with half of all films."""
    patients = np.array([0] * 20 + [number for number in range(1, 11) for _ in range(2)])
    asked = Asked(patients, np.zeros(len(patients), dtype=np.int64))
    truth = asked.one_person.astype(np.float32)
    aucs = [
        auc_of(truth[dealt(asked, stream(seed, n, "a"))][:, dealt(asked, stream(seed, n, "b"))], asked, "person")
        for n in range(12)
    ]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.05)


def test_who_is_heard_together_is_worth_more_than_each_alone_and_noise_is_worth_nothing() -> None:
    patients = np.repeat(np.arange(40), 2)
    asked = folds(patients, 4, stream(0))
    rng = stream(1)
    blank = np.where(asked.compared, 0, np.nan)
    several = [(asked.genuine("person") + rng.normal(0, 1, blank.shape) + blank).astype(np.float32) for _ in range(3)]
    alone = [auc_of(scores, asked, "person") for scores in several]
    assert auc_of(fused(several, asked, "person"), asked, "person") > max(alone) + 0.05
    guesses = [(rng.normal(0, 1, blank.shape) + blank).astype(np.float32) for _ in range(3)]
    assert auc_of(fused(guesses, asked, "person"), asked, "person") == pytest.approx(0.5, abs=0.08)
