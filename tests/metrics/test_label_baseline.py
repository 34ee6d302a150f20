"""The label floor: what the findings alone give away."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fedcxr.errors import DataError
from fedcxr.metrics import auc
from fedcxr.metrics._own_pairs import MAX_PAIRS, balanced_pairs
from fedcxr.metrics.label_baseline import LabelBaseline, _facts

NAN = np.nan
Array = npt.NDArray[Any]


def films(
    rng: np.random.Generator, patients: int = 400, findings: int = 6, persistence: float = 0.8
) -> tuple[Array, Array]:
    """Two to four films per patient; each shows a chronic finding with this chance, or a fresh draw."""
    owner = np.repeat(np.arange(patients), rng.integers(2, 5, patients))
    rate = np.linspace(0.03, 0.4, findings)
    chronic = rng.random((patients, findings)) < rate
    kept = rng.random((len(owner), findings)) < persistence
    return np.where(kept, chronic[owner], rng.random((len(owner), findings)) < rate).astype(np.float32), owner


def floor_auc(floor: LabelBaseline, labels: Array, owner: Array) -> float:
    a, b = np.triu_indices(len(owner), 1)
    return auc(owner[a] == owner[b], floor.score(labels, labels)[a, b])


def test_findings_that_persist_link_films_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    for persistence, low, high in ((0.9, 0.7, 1.0), (0.0, 0.46, 0.54)):
        floor = LabelBaseline.fit(*films(rng, persistence=persistence), rng)
        assert low < floor_auc(floor, *films(rng, persistence=persistence)) < high


def test_a_shared_rare_finding_says_more_than_a_shared_frequent_one() -> None:
    rng = np.random.default_rng(1)
    floor = LabelBaseline.fit(*films(rng, patients=2000), rng)
    assert floor.both[0] > floor.both[-1] > 0 > floor.one.max()


def test_it_reaches_the_likelihood_ratio_where_that_is_known() -> None:
    """One finding of three in a hundred patients that never changes: what sharing it, or not, says."""
    rng = np.random.default_rng(2)
    floor = LabelBaseline.fit(*films(rng, patients=5000, findings=1, persistence=1.0), rng)
    labels = np.array([[0.0], [1.0], [NAN]], np.float32)
    score = floor.score(labels, labels)
    rate = 0.03
    both = np.log(rate / rate**2)
    assert score[1, 1] == pytest.approx(both, rel=0.1)
    assert score[0, 1] < -3  # impossible within a patient, as far as regularisation lets it say so
    assert score[2, 1] == score[0, 0]  # unknown says nothing


def test_scores_are_those_of_the_facts_pair_by_pair() -> None:
    rng = np.random.default_rng(3)
    labels, owner = films(rng, patients=60)
    labels[rng.random(labels.shape) < 0.2] = NAN
    floor = LabelBaseline.fit(labels, owner, rng)
    scores = floor.score(labels[:20], labels[20:50])
    assert scores.shape == (20, 30)
    assert scores.dtype == np.float32
    a, b = np.divmod(np.arange(600), 30)
    literal = _facts(labels[:20][a], labels[20:50][b]) @ np.r_[floor.both, floor.one] + floor.intercept
    assert scores.ravel() == pytest.approx(literal, abs=1e-5)
    assert scores == pytest.approx(floor.score(labels[20:50], labels[:20]).T, abs=1e-5)


def test_facts_by_hand() -> None:
    a = np.array([[1, 1, 0, 0, NAN, NAN]], np.float32)
    b = np.array([[1, 0, 1, 0, 1, 0]], np.float32)
    assert _facts(a, b).tolist() == [[1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0]]


def test_pairs_are_balanced_distinct_and_as_many_as_there_are() -> None:
    owner = np.array(["a", "b", "a", "c", "a", "b"], dtype=object)
    a, b, genuine = balanced_pairs(owner, np.random.default_rng(0))
    assert ((owner[a] == owner[b]) == genuine).all()
    assert genuine.sum() == (~genuine).sum() == 4
    assert {frozenset(p) for p in zip(a[genuine].tolist(), b[genuine].tolist(), strict=True)} == {
        frozenset(p) for p in ((0, 2), (0, 4), (2, 4), (1, 5))
    }


def test_pairs_are_limited() -> None:
    a, _, genuine = balanced_pairs(np.repeat([0, 1], 250), np.random.default_rng(0))
    assert len(a) == 2 * MAX_PAIRS
    assert genuine.sum() == MAX_PAIRS


def test_fit_is_decided_by_its_generator() -> None:
    labels, owner = films(np.random.default_rng(4), patients=50)
    first, again, other = (LabelBaseline.fit(labels, owner, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first.both == again.both).all()
    assert (first.both != other.both).any()


@pytest.mark.parametrize("owner", [[0, 0, 0], [0, 1, 2], []])
def test_it_cannot_be_learnt_without_pairs_of_both_kinds(owner: list[int]) -> None:
    with pytest.raises(DataError, match="at least two patients"):
        LabelBaseline.fit(np.zeros((len(owner), 2)), np.array(owner, dtype=int), np.random.default_rng(0))


def test_labels_of_other_findings_are_refused() -> None:
    floor = LabelBaseline(np.ones(3, np.float32), np.ones(3, np.float32), 0.0)
    with pytest.raises(DataError, match=r"allowed: \(n, 3\)"):
        floor.score(np.zeros((2, 3)), np.zeros((2, 4)))


def test_importing_it_does_not_import_scikit_learn() -> None:
    code = "import sys, fedcxr.metrics.bootstrap, fedcxr.metrics.label_baseline; print('sklearn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
