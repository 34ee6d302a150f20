"""What findings alone tell: as much as they do, and nothing by looking at the answer."""

from __future__ import annotations

import numpy as np

from fedcxr.metrics import auc
from fedcxr.metrics.attribute_baseline import from_labels

RNG = np.random.default_rng(0)
LABELS = (RNG.random((300, 3)) < 0.4).astype(np.float32)
MALE = np.where(RNG.random(300) < 0.8, LABELS[:, 0], 1 - LABELS[:, 0]).astype(np.float32)
TARGETS = np.stack([MALE, LABELS[:, 1]], axis=1)


def test_a_finding_that_goes_with_sex_tells_it() -> None:
    told = from_labels(TARGETS[:200], LABELS[:200], LABELS[200:], [None, 1])
    assert auc(MALE[200:] == 1, told[:, 0]) > 0.7
    silent = from_labels(TARGETS[:200], np.full((200, 3), np.nan), LABELS[200:], [None, 1])
    assert np.ptp(silent[:, 0]) == 0


def test_a_finding_is_not_read_off_itself() -> None:
    shown = LABELS[200:]
    hidden = np.where(np.arange(3) == 1, 1 - shown, shown)
    told, other = (from_labels(TARGETS[:200], LABELS[:200], films, [None, 1]) for films in (shown, hidden))
    np.testing.assert_array_equal(told[:, 1], other[:, 1])
    assert (told[:, 0] != other[:, 0]).any()


def test_of_what_is_always_so_or_never_known_nothing_is_said() -> None:
    targets = np.stack([np.ones(300), np.full(300, np.nan)], axis=1).astype(np.float32)
    assert not from_labels(targets, LABELS, LABELS, [None, None]).any()
