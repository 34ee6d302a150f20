"""What is restored is nearer to the clean film than what was released."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedcxr.adversaries import _front_end as front_end
from fedcxr.adversaries._front_end import Restore
from fedcxr.methods.noise import Noise
from fedcxr.rng import stream
from fedcxr.training import Plan
from fedcxr.training.compute import Compute

NOISE = Noise(scale=0.4)


def films_of(count: int, seed: int) -> np.ndarray:  # (count, 16, 16)
    coarse = stream(seed, "films").random((count, 4, 4)) * 180 + 30
    smooth: np.ndarray = np.kron(coarse, np.ones((4, 4))).astype(np.uint8)
    return smooth


def filtered(films: np.ndarray) -> Restore:
    return front_end.wiener(NOISE.protect(films, stream(1, "restore")), films)


def drawn(films: np.ndarray) -> Restore:
    plan = Plan(40, 5e-3)
    compute = Compute.choose("cpu", "fp32")
    return front_end.learn(lambda rows, rng: NOISE.protect(films[rows], rng), films, stream(1), compute, plan)


@pytest.mark.parametrize("learn", [filtered, drawn])
def test_restored_films_are_nearer_and_nothing_given_changes(learn: Callable[[np.ndarray], Restore]) -> None:
    own, clean = films_of(200, 1), films_of(40, 2)
    own.flags.writeable = False
    released = NOISE.protect(clean, stream(3))
    released.flags.writeable = False
    restore = learn(own)
    restored = restore(released)
    assert restored.shape == released.shape
    assert restored.dtype == np.uint8

    def off(films: np.ndarray) -> float:
        return float(np.square(films.astype(float) - clean).mean())

    assert off(restored) < 0.6 * off(released)
    assert off(restored) < off(np.broadcast_to(own.mean(axis=0), clean.shape))
    assert np.array_equal(restored, learn(own)(released))
    assert restore(released[:0]).shape == (0, 16, 16)


def test_what_is_not_protected_passes_the_filter_unchanged() -> None:
    own = films_of(60, 1)
    restore = front_end.wiener(own, own)
    assert np.abs(restore(own).astype(int) - own).max() <= 1
