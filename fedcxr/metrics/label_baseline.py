"""The label-only baseline: how well two films are linked by someone who sees nothing but their findings.

No method that keeps the findings readable can be expected to push an attacker below it; an attacker who
stays at the floor has learnt nothing else from the pixels. The figure is the AUC of `LabelBaseline.score`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcxr.errors import DataError
from fedcxr.metrics import Floats, Ids
from fedcxr.metrics._own_pairs import balanced_pairs


@dataclass(frozen=True)
class LabelBaseline:
    """A logistic regression on two facts per finding: both films show it, exactly one does.

    A finding that is unknown in either film says neither. The order of the two films does not matter.
    """

    both: npt.NDArray[np.float32]  # (k,) log-odds of `same patient`
    one: npt.NDArray[np.float32]  # (k,)
    intercept: float

    @classmethod
    def fit(cls, labels: Floats, patients: Ids, rng: np.random.Generator) -> LabelBaseline:
        """Learn on auxiliary films: labels (n, k) of 0, 1 or NaN and who they belong to (n,)."""
        # Imported here, because it takes a second.
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

        a, b, genuine = balanced_pairs(patients, rng)
        model = LogisticRegression(max_iter=1000).fit(_facts(labels[a], labels[b]), genuine)
        both, one = np.split(model.coef_[0].astype(np.float32), 2)
        return cls(both, one, float(model.intercept_[0]))

    def score(self, labels_a: Floats, labels_b: Floats) -> npt.NDArray[np.float32]:  # (n, m)
        """Log-odds, at even prior odds, that films (n, k) and (m, k) are of one patient."""
        for labels in (labels_a, labels_b):
            if labels.ndim != 2 or labels.shape[1] != len(self.both):
                raise DataError(
                    "labels have one column per finding", given=labels.shape, allowed=f"(n, {len(self.both)})"
                )
        with_a, without_a = _shown(labels_a)
        with_b, without_b = _shown(labels_b)
        # The same sum as over _facts(), as two matrix products instead of n x m x 2k facts.
        evidence = with_a @ (self.both * with_b + self.one * without_b).T + without_a @ (self.one * with_b).T
        return np.asarray(evidence + np.float32(self.intercept), dtype=np.float32)


def _shown(labels: Floats) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """1 where the finding is known to be present, and 1 where it is known to be absent."""
    return (labels == 1).astype(np.float32), (labels == 0).astype(np.float32)


def _facts(labels_a: Floats, labels_b: Floats) -> npt.NDArray[np.float32]:  # (pairs, 2k)
    (with_a, without_a), (with_b, without_b) = _shown(labels_a), _shown(labels_b)
    return np.concatenate([with_a * with_b, with_a * without_b + without_a * with_b], axis=1)
