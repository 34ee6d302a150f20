"""What a test tells of each film is a byte for each finding, whatever model is tested."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcxr.errors import Refused
from fedcxr.metrics import auc
from fedcxr.tasks._told import LEVELS, MOST_FINDINGS, check_findings, told

SHAPES = st.tuples(st.integers(0, 600), st.integers(0, 3))


@given(st.data())
def test_a_score_has_so_many_levels_and_says_nothing_of_what_is_unknown(data: st.DataObject) -> None:
    """Of any numbers that a network may come to; with numbers in order the order stays."""
    shape = data.draw(SHAPES)
    scores = data.draw(arrays(np.float32, shape, elements=st.floats(width=32, allow_nan=False)))
    labels = data.draw(arrays(np.float32, shape, elements=st.sampled_from([0.0, 1.0, np.nan])))
    leaves = told(scores, labels)
    assert leaves.dtype == np.float32
    assert leaves.shape == shape
    assert not np.isnan(leaves).any()
    assert not leaves[np.isnan(labels)].any()
    for column in range(shape[1]):
        known = ~np.isnan(labels[:, column])
        assert len(np.unique(leaves[known, column])) <= LEVELS
        order = scores[known, column].argsort(kind="stable")
        assert (np.diff(leaves[known, column][order].astype(np.float64)) >= 0).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4], ids=str)
def test_an_auc_is_the_same_to_a_thousandth(scale: float) -> None:
    """Whatever scale a model has: some tell probabilities, others logits."""
    rng = np.random.default_rng(0)
    labels = (rng.random((2000, 1)) < 0.1).astype(np.float32)
    scores = ((rng.standard_normal((2000, 1)) + labels) * scale).astype(np.float32)
    there = auc(labels[:, 0] == 1, told(scores, labels)[:, 0])
    assert there == pytest.approx(auc(labels[:, 0] == 1, scores[:, 0]), abs=1e-3)


@pytest.mark.parametrize(
    "findings",
    [("Effusion", "Effusion"), ("Effusion", "pleural_effusion"), tuple(map(str, range(MOST_FINDINGS + 1)))],
    ids=["twice", "under two names", "many"],
)
def test_one_number_for_each_finding_and_no_more(findings: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        check_findings(findings)
