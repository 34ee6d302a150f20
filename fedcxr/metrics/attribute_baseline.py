"""What findings alone tell of a person: a logistic regression per attribute, on which findings a film shows.

Released findings are seen by everybody, so that a release tells only as much of sex, age or scanner as it tells beyond
this. A finding is inferred from all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedcxr.metrics import Floats


def from_labels(
    targets: Floats, labels: Floats, others: Floats, itself: Sequence[int | None]
) -> npt.NDArray[np.float32]:  # (m, t)
    """Log-odds of each target of films with the labels `others` (m, k), learnt on targets (n, t) and labels (n, k).

    All of 0, 1 and NaN. `itself` names for each target the label that it is, which is not looked at.
    """
    # Imported here, because it takes a second.
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

    found = np.zeros((len(others), targets.shape[1]), dtype=np.float32)  # of what cannot be learnt, nothing is said
    for column, target in enumerate(itself):
        known = ~np.isnan(targets[:, column])
        true = targets[known, column] == 1
        seen = [place for place in range(labels.shape[1]) if place != target]
        if not seen or not true.any() or true.all():
            continue
        model = LogisticRegression(max_iter=1000).fit(_facts(labels[known][:, seen]), true)
        found[:, column] = model.decision_function(_facts(others[:, seen]))
    return found


def _facts(labels: Floats) -> npt.NDArray[np.float32]:  # (n, 2k)
    """1 where a finding is known to be there, and 1 where it is known not to be."""
    return np.concatenate([labels == 1, labels == 0], axis=1).astype(np.float32)
