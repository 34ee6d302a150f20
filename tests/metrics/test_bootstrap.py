"""The vectorised bootstrap against a literal one, and against what an interval is for."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import fedcxr.metrics.bootstrap as bootstrap
from fedcxr.errors import ConfigError, DataError
from fedcxr.metrics import _ranking, auc, finding_aucs, stratified_auc
from fedcxr.metrics._ranking import rank
from fedcxr.metrics.bootstrap import auc_difference_interval, auc_interval, mean_auc_interval, mean_interval

Array = npt.NDArray[Any]
Interval = tuple[float, float]


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draws(rng: np.random.Generator, patients: int, replicates: int) -> list[Array]:
    """The multiplicities the module draws, from the same stream."""
    return [np.bincount(rng.integers(patients, size=patients), minlength=patients) for _ in range(replicates)]


def pairs_of(films: Array) -> tuple[Array, Array]:
    """All pairs of films, given the patient of each: the two patients of every pair."""
    a, b = np.triu_indices(len(films), 1)
    return films[a], films[b]


def scored_pairs(
    rng: np.random.Generator, films: Array, strength: float = 1.0, grid: int | None = None
) -> tuple[Array, Array, Array, Array]:
    """Pairs whose scores depend on the patient: some patients are easy to recognise, some are not."""
    a, b = pairs_of(films)
    ease = rng.normal(strength, 1, films.max() + 1)
    scores = rng.normal(0, 1, len(a)) + (a == b) * ease[a]
    return (scores if grid is None else np.round(scores * grid)), a == b, a, b


def ends(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


def width(interval: Interval | None) -> float:
    low, high = ends(interval)
    return high - low


# --- the same numbers as a slow and literal implementation


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 12), st.sampled_from([None, 1, 3]))
def test_pairs_agree_with_scikit_learn_replicate_by_replicate(seed: int, patients: int, grid: int | None) -> None:
    films = np.concatenate([np.arange(patients), seeded(seed).integers(patients, size=patients)])
    scores, genuine, a, b = scored_pairs(seeded(seed), films, grid=grid)
    if len(np.unique(a[genuine])) < 2:
        return
    literal = []
    for times in draws(seeded(7), patients, 40):
        weight = np.where(a == b, times[a], times[a] * times[b])
        if weight[genuine].any() and weight[~genuine].any():
            literal.append(roc_auc_score(genuine, scores, sample_weight=weight))
    expected = np.quantile(literal, [0.05, 0.95])
    assert auc_interval(scores, genuine, a, b, seeded(7), 40, level=0.9) == pytest.approx(expected, abs=1e-6)


def test_pairs_agree_with_films_copied_as_often_as_their_patient_was_drawn() -> None:
    """Weights are a shorthand: here a patient drawn twice is two patients, with pairs of their own."""
    films = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    matrix = seeded(1).integers(0, 6, (8, 8)).astype(float)
    matrix += matrix.T
    a, b = np.triu_indices(8, 1)
    literal = []
    for times in draws(seeded(2), 4, 60):
        copies = [(patient, copy) for patient in range(4) for copy in range(times[patient])]
        same: list[float] = []
        other: list[float] = []
        for mine in copies:
            for x, y in itertools.combinations(np.flatnonzero(films == mine[0]), 2):
                same.append(matrix[x, y])
        for mine, yours in itertools.combinations(copies, 2):
            if mine[0] != yours[0]:
                here, there = np.flatnonzero(films == mine[0]), np.flatnonzero(films == yours[0])
                other.extend(matrix[np.ix_(here, there)].ravel())
        if same and other:
            literal.append(auc(np.repeat([True, False], [len(same), len(other)]), np.array(same + other)))
    fast = auc_interval(matrix[a, b], films[a] == films[b], films[a], films[b], seeded(2), 60)
    assert fast == pytest.approx(np.quantile(literal, [0.025, 0.975]), abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 12), st.sampled_from([None, 1]), st.integers(1, 3))
def test_differences_agree_with_a_loop_over_replicates_and_strata(
    seed: int, patients: int, grid: int | None, strata: int
) -> None:
    rng = seeded(seed)
    films = np.concatenate([np.arange(patients), rng.integers(patients, size=patients)])
    scores, genuine, a, b = scored_pairs(rng, films, grid=grid)
    others = scores + rng.normal(size=len(scores))
    stratum = rng.integers(strata, size=len(scores))

    def literal(column: Array, weight: Array) -> float:
        wins = total = 0.0
        for x, y in itertools.product(np.flatnonzero(genuine), np.flatnonzero(~genuine)):
            if stratum[x] == stratum[y]:
                wins += weight[x] * weight[y] * ((column[x] > column[y]) + (column[x] == column[y]) / 2)
                total += weight[x] * weight[y]
        return wins / total if total else np.nan

    weights = [np.where(a == b, times[a], times[a] * times[b]) for times in draws(seeded(7), patients, 12)]
    aucs = np.array([[literal(column, weight) for weight in weights] for column in (scores, others)])
    fast = auc_difference_interval(scores, others, genuine, a, b, seeded(7), 12, strata=stratum)
    if fast is not None:
        assert fast == pytest.approx(np.nanquantile(aucs[0] - aucs[1], [0.025, 0.975]), abs=1e-6)
        assert auc_interval(scores, genuine, a, b, seeded(7), 12, strata=stratum) == pytest.approx(
            np.nanquantile(aucs[0], [0.025, 0.975]), abs=1e-6
        )
        assert stratified_auc(genuine, scores, stratum) == pytest.approx(literal(scores, np.ones(len(scores))))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 2]))
def test_findings_agree_with_scikit_learn_on_resampled_films(seed: int, grid: int | None) -> None:
    rng = seeded(seed)
    patients = rng.integers(12, size=60)
    labels = (rng.random((60, 3)) < [0.5, 0.2, 0.03]).astype(float)
    labels[rng.random((60, 3)) < 0.1] = np.nan
    scores = rng.normal(size=(60, 3)) + np.nan_to_num(labels)
    scores = scores if grid is None else np.round(scores * grid)
    names = ["a", "b", "c"]
    point = finding_aucs(labels, scores, names)
    owners, owner = np.unique(patients, return_inverse=True)
    literal = []
    for times in draws(seeded(5), len(owners), 30):
        rows = np.repeat(np.arange(60), times[owner])
        replicate = finding_aucs(labels[rows], scores[rows], names, min_positives=1).per_finding
        literal.append([np.nan if name in point.skipped else replicate[name] for name in names])
    aucs = np.array(literal, dtype=float)
    result = mean_auc_interval(labels, scores, patients, seeded(5), 30)
    for name, column, interval in zip(names, aucs.T, result.per_finding, strict=True):
        if name in point.skipped:
            assert interval is None
        elif interval is not None:
            assert interval == pytest.approx(np.nanquantile(column, [0.025, 0.975]), abs=1e-6)
    means = [np.nanmean(row) for row in aucs if not np.isnan(row).all()]
    if means:
        assert result.mean_auc == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 600), st.sampled_from([None, 1]))
def test_weights_of_one_give_the_plain_auc(seed: int, above: int, below: int, grid: int | None) -> None:
    rng = seeded(seed)
    positive = rng.permutation(np.repeat([True, False], [above, below]))
    scores = rng.normal(size=above + below) if grid is None else rng.integers(0, 4, above + below).astype(float)
    pair = np.arange(above + below)[None].repeat(2, axis=0)
    ranking = rank(scores, positive, pair, above + below)
    once = np.ones((above + below + 1, 2), np.float32)
    assert ranking.aucs(once) == pytest.approx(auc(positive, scores), abs=1e-6)


# --- what is drawn


def test_every_patient_can_be_drawn_and_as_many_as_there_are() -> None:
    (times,) = bootstrap._draws(5, 200, seeded(), 0)
    assert times.shape == (6, 200)
    assert (times[:5].sum(axis=0) == 5).all()
    assert (times[:5] > 0).any(axis=1).all()  # the published bootstraps never draw the last
    assert times[4].mean() == pytest.approx(1, abs=0.2)
    assert (times[5] == 1).all()


def test_replicates_do_not_depend_on_how_many_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    films = np.repeat(np.arange(8), 2)
    data = scored_pairs(seeded(), films)
    whole = auc_interval(*data, seeded(3), 50)
    monkeypatch.setattr(bootstrap, "_TABLE_CELLS", 0)
    monkeypatch.setattr(_ranking, "_BLOCK", 7)
    assert auc_interval(*data, seeded(3), 50) == pytest.approx(whole, abs=1e-6)


def test_the_generator_alone_decides() -> None:
    data = scored_pairs(seeded(), np.repeat(np.arange(8), 2))
    before = np.random.get_state(legacy=False)["state"]["key"].tolist()
    assert auc_interval(*data, seeded(3), 50) == auc_interval(*data, seeded(3), 50)
    assert auc_interval(*data, seeded(3), 50) != auc_interval(*data, seeded(4), 50)
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before


def test_many_impostors_are_thinned_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    films = np.repeat(np.arange(40), 4)
    data = scored_pairs(seeded(), films)
    whole = auc_interval(*data, seeded(3), 300)
    monkeypatch.setattr(bootstrap, "MAX_NEGATIVES", 3000)  # of 12,480
    assert auc_interval(*data, seeded(3), 300) == pytest.approx(whole, abs=0.02)


def test_inputs_are_left_alone_and_names_are_as_good_as_numbers() -> None:
    scores, genuine, a, b = scored_pairs(seeded(), np.repeat(np.arange(8), 2))
    names = np.array([f"p{i}" for i in range(8)], dtype=object)
    data = (scores, genuine, names[a], names[b])
    copies = [column.copy() for column in data]
    assert auc_interval(*data, seeded(3), 50) == auc_interval(scores, genuine, a, b, seeded(3), 50)
    assert all((column == copy).all() for column, copy in zip(data, copies, strict=True))


# --- what an interval is for


def test_the_interval_widens_when_few_patients_own_the_pairs() -> None:
    """60 genuine pairs each, of 60 patients with two films or of four with six."""
    many, few = np.repeat(np.arange(60), 2), np.concatenate([np.repeat(np.arange(4), 6), np.arange(4, 60)])
    widths = []
    for films in (many, few):
        scores, genuine, a, b = scored_pairs(seeded(1), films)
        assert genuine.sum() == 60
        widths.append(width(auc_interval(scores, genuine, a, b, seeded(2), 400)))
    assert widths[1] > 1.5 * widths[0]


def test_a_difference_is_known_better_than_its_two_sides() -> None:
    scores, genuine, a, b = scored_pairs(seeded(1), np.repeat(np.arange(40), 2))
    worse = scores + seeded(2).normal(0, 0.3, len(scores))
    alone = [auc_interval(column, genuine, a, b, seeded(3), 400) for column in (scores, worse)]
    assert width(auc_difference_interval(scores, worse, genuine, a, b, seeded(3), 400)) < 0.7 * width(alone[0])
    assert auc_difference_interval(scores, scores, genuine, a, b, seeded(3), 400) == (0, 0)
    assert all(width(interval) > 0 for interval in alone)


def test_both_sides_of_a_difference_are_scored_on_the_same_impostors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MAX_NEGATIVES", 100)
    scores, genuine, a, b = scored_pairs(seeded(1), np.repeat(np.arange(20), 2))
    assert auc_difference_interval(scores, scores, genuine, a, b, seeded(3), 100) == (0, 0)


def test_a_mean_is_resampled_by_patient() -> None:
    values, patients = np.array([1.0, 3.0, 10.0, 20.0]), np.array(["a", "a", "b", "c"])
    literal = []
    for times in draws(seeded(7), 3, 500):
        weight = times[[0, 0, 1, 2]]
        literal.append((values * weight).sum() / weight.sum())
    expected = tuple(np.quantile(literal, [0.025, 0.975]))
    assert mean_interval(values, patients, seeded(7), 500) == pytest.approx(expected, rel=1e-5)
    assert mean_interval(values[:2], patients[:2], seeded(7)) is None  # one patient tells nothing about others


def test_a_mean_is_covered_about_as_often_as_promised() -> None:
    hits = 0
    for seed in range(120):
        rng = seeded(seed)
        patients = np.repeat(np.arange(40), 3)
        values = rng.normal(size=40)[patients] + rng.normal(size=120)
        low, high = ends(mean_interval(values, patients, rng, 200, 0.9))
        hits += low < 0 < high
    assert 0.8 < hits / 120 < 0.98


def test_copies_of_a_film_are_no_evidence() -> None:
    rng = seeded(4)
    labels = (rng.random((80, 1)) < 0.4).astype(float)
    scores = labels + rng.normal(0, 1, (80, 1))
    patients = np.arange(80)
    once = mean_auc_interval(labels, scores, patients, seeded(5))
    labels, scores, patients = (np.repeat(x, 10, axis=0) for x in (labels, scores, patients))
    tenfold = mean_auc_interval(labels, scores, patients, seeded(5))
    assert tenfold.mean_auc == pytest.approx(once.mean_auc, abs=1e-6)


def test_findings_are_covered_about_as_often_as_promised() -> None:
    """Two Gaussians one apart: AUC .760. Patients have three films with a common part in label and score."""
    hits = 0
    for seed in range(120):
        rng = seeded(seed)
        patients = np.repeat(np.arange(80), 3)
        labels = (rng.random(80) < 0.4)[patients].astype(float)
        scores = labels + (0.8 * rng.normal(size=80)[patients] + 0.6 * rng.normal(size=240))
        low, high = ends(mean_auc_interval(labels[:, None], scores[:, None], patients, rng, 200, 0.9).mean_auc)
        hits += low <= 0.7602 <= high
    assert 0.82 <= hits / 120 <= 0.97  # films resampled one by one cover .72


def test_pairs_are_covered_about_as_often_as_promised() -> None:
    """Genuine pairs are recognised by a strength of their patient: N(1, 1), so AUC = Phi(1 / sqrt 3)."""
    films = np.repeat(np.arange(40), 3)
    hits = 0
    for seed in range(120):
        rng = seeded(seed)
        low, high = ends(auc_interval(*scored_pairs(rng, films), rng, 200, 0.9))
        hits += low <= 0.7181 <= high
    assert 0.82 <= hits / 120 <= 0.97  # pairs resampled one by one cover .75


# --- what is unknown, and what is wrong


@pytest.mark.parametrize("films", [[0, 0, 0, 1, 2], [0, 0, 1, 1], [0, 1, 2], [0, 0, 0], []])
def test_too_few_patients_give_no_interval(films: list[int]) -> None:
    """One patient owns all genuine pairs, or one pair of patients all impostors: nothing varies."""
    a, b = pairs_of(np.array(films, dtype=int))
    assert auc_interval(np.arange(len(a), dtype=float), a == b, a, b, seeded(), 20) is None


def test_a_finding_of_one_patient_counts_in_the_mean_only() -> None:
    patients = np.repeat(np.arange(10), 6)
    labels = np.stack([np.tile([0.0, 1.0], 30), np.r_[np.ones(6), np.zeros(54)], np.full(60, np.nan)], axis=1)
    scores = np.stack([np.arange(60) % 7, np.zeros(60), np.zeros(60)], axis=1).astype(float)
    result = mean_auc_interval(labels, scores, patients, seeded(), 200)
    assert result.per_finding[0] is not None
    assert result.per_finding[1:] == (None, None)
    assert result.mean_auc != result.per_finding[0]
    alone = mean_auc_interval(labels[:, 1:], scores[:, 1:], patients, seeded(), 200)
    assert (alone.mean_auc, alone.per_finding) == (None, (None, None))


@pytest.mark.parametrize("options", [{"replicates": 0}, {"level": 0.0}, {"level": 95.0}])
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    data = scored_pairs(seeded(), np.repeat(np.arange(4), 2))
    with pytest.raises(ConfigError, match="allowed"):
        auc_interval(*data, seeded(), **options)


def test_senseless_data_are_refused() -> None:
    scores, genuine, a, b = scored_pairs(seeded(), np.repeat(np.arange(4), 2))
    with pytest.raises(DataError, match="one row per item"):
        auc_interval(scores[1:], genuine, a, b, seeded())
    with pytest.raises(DataError, match="one row per item"):
        auc_difference_interval(scores, scores[1:], genuine, a, b, seeded())
    with pytest.raises(DataError, match="NaN"):
        auc_interval(np.where(genuine, np.nan, scores), genuine, a, b, seeded())
    with pytest.raises(DataError, match="one row per item"):
        mean_auc_interval(np.zeros((3, 1)), np.zeros((3, 1)), np.arange(2), seeded())
