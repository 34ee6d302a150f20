"""What is told of an audit before it: figures done by hand, and the smallest AUC as the real one comes out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedcxr.data._prospects import Prospects, Shown
from fedcxr.metrics.permutation import expected_smallest_auc, smallest_auc


def index(patients: str, splits: str, labels: list[float]) -> pd.DataFrame:
    named = {"x": "train", "t": "test"}
    return pd.DataFrame({"patient": list(patients), "split": [named[s] for s in splits], "Mass": labels})


def test_three_patients_by_hand() -> None:
    told = Prospects.of(index("aabbbcd", "xxttttx", [0, 1, 1, 0, 0, np.nan, 1]), ["Mass"])
    assert (told.patients, told.pairs) == (2, 1 + 3)
    assert (told.learnt_from, told.attacked, told.scored_pairs) == (1, 1, 2)
    assert (told.scored, told.too_few) == ((), (Shown("Mass", 1, 2),))
    assert told.smallest_auc is None
    assert "1 patients in test have two films" in told.doubts[0]
    assert "Mass (1 with, 2 without)" in told.to_lines()[-1]


def test_a_majority_is_as_rare_as_a_minority() -> None:
    patients = "".join(letter * 2 for letter in "abcdefghijklmnopqrstuvwxyz")
    labels = np.ones(52)
    labels[:5] = 0
    told = Prospects.of(index(patients, "t" * 52, labels.tolist()), ["Mass"])
    assert told.scored == (Shown("Mass", 47, 5),)
    labels[4] = 1
    rarer = Prospects.of(index(patients, "t" * 52, labels.tolist()), ["Mass"])
    assert rarer.too_few == (Shown("Mass", 48, 4),)
    assert any("no finding has 5 films" in doubt for doubt in rarer.doubts)


@pytest.mark.parametrize("patients", [8, 60])
def test_the_smallest_auc_is_foreseen(patients: int) -> None:
    rng = np.random.default_rng(patients)
    sides = rng.integers(1, 4, (2, patients))
    ours, theirs = (np.repeat(np.arange(patients), side) for side in sides)
    drawn = [
        smallest_auc(rng.random((patients, patients))[ours][:, theirs], ours, theirs, rng) for _ in range(6)
    ]  # all pairs of two patients tie
    foreseen = expected_smallest_auc(sides[0] * sides[1])
    assert foreseen == pytest.approx(np.mean([one for one in drawn if one is not None]), abs=0.02)
