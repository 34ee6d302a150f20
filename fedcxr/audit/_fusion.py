"""All attackers heard together: how much each is to be believed is learnt from films of the other folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedcxr.audit.scoring import SAME, Asked, Question, Scores, relative

Features = npt.NDArray[np.float32]  # (n, n, k)


def fused(scores: Sequence[Scores], asked: Asked, question: Question) -> Scores:
    """Log-odds of every pair within a fold, by weights that no film of that fold has had a part in."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

    told = np.stack([part for one in scores for part in _heard(one, asked)], axis=-1)
    a, b, genuine = asked.pairs(question)
    together = np.full(asked.compared.shape, np.nan, dtype=np.float32)
    for number in np.unique(asked.fold):
        others = asked.fold[a] != number
        model = LogisticRegression(class_weight="balanced", solver="newton-cholesky")
        model.fit(told[a[others], b[others]], genuine[others])
        here = np.ix_(*[np.flatnonzero(asked.fold == number)] * 2)
        shape = told[here].shape
        together[here] = model.decision_function(told[here].reshape(-1, shape[-1])).reshape(shape[:2])
    return relative(together, asked)


def _heard(scores: Scores, asked: Asked) -> tuple[Scores, Scores]:
    """Scores as they are, and in units of how much those of both films vary."""
    spread = [np.nanstd(scores, axis, keepdims=True) for axis in (0, 1)]
    return scores, scores / np.sqrt(np.maximum(spread[0] * spread[1], SAME))
