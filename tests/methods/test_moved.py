"""Masks go where a method moves the pixels they outline, by the very field that moves their films."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError
from fedcxr.methods import RunContext, Weights, _adversarial
from fedcxr.methods import _generator as generators
from fedcxr.methods.prichexy_net import PriCheXyNet
from fedcxr.rng import stream

CPU = RunContext("cpu", "fp32")


def wild(method: PriCheXyNet, side: int) -> Weights:
    """A generator that moves everything as far as it can."""
    weights = generators.arrays_of(method.untrained(stream(1)), (side, side))
    head = weights["generator.head.weight"]
    return weights | {"generator.head.weight": 50 * stream(2).standard_normal(head.shape, dtype=np.float32)}


def prichexy_net(mu: float) -> PriCheXyNet:
    return PriCheXyNet(mu=mu, widths=(4, 8))


def test_masks_are_moved_with_their_films(monkeypatch: pytest.MonkeyPatch) -> None:
    """A film that is black outside its mask and white inside shows after the release where the mask then lies."""
    monkeypatch.setattr(_adversarial, "AT_ONCE", 3 * 32 * 32)  # films pass in parts
    method = prichexy_net(0.25)
    weights = wild(method, 32)
    masks = np.zeros((8, 32, 32), dtype=bool)
    for film, mask in enumerate(masks):
        mask[4 + film : 20, 6 : 20 + film] = True
    films = masks * np.uint8(255)
    moved = method.moved(masks, films, weights, CPU)
    np.testing.assert_array_equal(moved, method.protector(weights, CPU)(films, stream(1)) >= 128)
    assert (moved != masks).any(axis=(1, 2)).all()
    assert method.moved(masks[:0], films[:0], weights, CPU).shape == (0, 32, 32)
    with pytest.raises(ConfigError, match="another size"):
        method.moved(masks[:, :16], films[:, :16], weights, CPU)


def test_mu_zero_leaves_masks_where_they_are(make_cohort: Callable[..., Cohort]) -> None:
    method, films = prichexy_net(0.0), make_cohort((3, 2), size=32).films()
    masks = films % 2 == 1
    np.testing.assert_array_equal(method.moved(masks, films, wild(method, 32), CPU), masks)
