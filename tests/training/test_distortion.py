"""Distorted films: still films, each changed on its own, by the given generator only, and by nothing when told so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fedcxr.models.contrast import blurred
from fedcxr.rng import stream
from fedcxr.training.distortion import Distortion

NOTHING = Distortion(bend=0, opacity=0, exposure=0, sharpening=0, curve=None, border=0, coarseness=1, noise=0)


def films(count: int = 6, size: int = 32) -> torch.Tensor:
    drawn = stream(0).random((count, 1, size, size), dtype=np.float32)
    return blurred(torch.from_numpy(drawn), 2.0)


def test_no_amount_changes_nothing() -> None:
    assert torch.allclose(NOTHING(films(), stream(1)), films(), atol=1e-5)


@pytest.mark.parametrize("kind", [field.name for field in dataclasses.fields(Distortion)])
def test_every_kind_of_change_does_something(kind: str) -> None:
    only = dataclasses.replace(NOTHING, **{kind: getattr(Distortion(), kind)})
    assert not torch.allclose(only(films(), stream(1)), films(), atol=1e-3)


def test_the_generator_alone_decides_and_films_are_left_alone() -> None:
    given, before = films(), torch.get_rng_state()
    once, again, otherwise = (Distortion()(given, stream(seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.allclose(once, otherwise)
    assert torch.equal(given, films())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(32, 32), (40, 33)])
def test_films_stay_films_and_each_is_changed_on_its_own(shape: tuple[int, int]) -> None:
    same = torch.linspace(0, 1, shape[0] * shape[1]).view(1, 1, *shape).expand(6, -1, -1, -1)
    changed = Distortion()(same, stream(1))
    assert changed.shape == same.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1
    assert len({film.numpy().tobytes() for film in changed}) == 6


def test_grey_levels_are_never_inverted() -> None:
    ramp = torch.linspace(0, 1, 32).expand(20, 1, 32, 32)
    only = dataclasses.replace(NOTHING, curve=0.6)
    assert (only(ramp, stream(1)).diff(dim=-1) >= 0).all()
