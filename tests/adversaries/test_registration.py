"""Films are compared part by part, and their scores with what each scores with everybody else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcxr.adversaries._registration import registered
from fedcxr.metrics import auc
from fedcxr.models.contrast import blurred
from fedcxr.models.relative import relative
from fedcxr.rng import stream
from fedcxr.training.compute import Compute

CPU = Compute.choose("cpu", "fp32")


def people(count: int, size: int = 64) -> np.ndarray:
    drawn = torch.from_numpy(stream(3).random((count, 1, size, size), dtype=np.float32))
    smooth = blurred(drawn, 2.0)[:, 0]
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).to(torch.uint8).numpy()


def test_who_moved_in_parts_is_found() -> None:
    size = 96  # any; not what the films are brought to
    films = people(8, size)
    upper, lower = films[:, : size // 2], films[:, size // 2 :]
    moved = np.concatenate([np.roll(upper, 3, axis=2), np.roll(lower, -3, axis=2)], axis=1)
    scores = registered(films, moved, CPU)
    assert (scores.argmax(1) == np.arange(8)).all()
    assert registered(moved, films, CPU) == pytest.approx(scores.T, abs=1e-4)
    together = registered(np.concatenate([films, moved]), None, CPU)
    same = np.arange(16) % 8
    a, b = np.triu_indices(16, 1)
    assert auc(same[a] == same[b], together[a, b]) == 1
    assert np.isnan(np.diag(together)).all()


def test_films_without_anything_on_them_have_scores_like_any_other() -> None:
    films = people(5)
    films[2], films[4] = 0, 255
    assert np.isfinite(registered(films, people(4), CPU)).all()


def test_relative_scores_done_by_hand() -> None:
    scores = np.array([[np.nan, 1.0, 3.0], [1.0, np.nan, 2.0], [3.0, 2.0, np.nan]])
    # Film 0 scores 1 and 3: mean 2, deviation 1. Film 1: 1.5 and .5. Film 2: 2.5 and .5.
    expected = np.array([[np.nan, -1.0, 1.0], [-1.0, np.nan, 0.0], [1.0, 0.0, np.nan]])
    assert relative(scores) == pytest.approx(expected, nan_ok=True)
    assert relative(10 * scores + 7) == pytest.approx(expected, nan_ok=True)
    assert (relative(np.full((2, 3), 4.0)) == 0).all()
