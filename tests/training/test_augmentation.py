"""Augmented films: still films, each changed on its own, by the given generator only, and by nothing when told so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedcxr.models.contrast import blurred, local_contrast
from fedcxr.rng import stream
from fedcxr.training.augmentation import Augmentation

NOTHING = Augmentation(degrees=0, zoom=0, stretch=0, shift=0, gamma=0, blur=0, noise=0, boxes=0)


def films(count: int = 3, size: int = 32) -> torch.Tensor:
    drawn = stream(0).random((count, 1, size, size), dtype=np.float32)
    return blurred(torch.from_numpy(drawn), 2.0)


def test_no_amount_changes_nothing() -> None:
    assert torch.allclose(NOTHING(films(), stream(1)), films(), atol=1e-5)


def test_the_generator_alone_decides_and_films_are_left_alone() -> None:
    given, before = films(), torch.get_rng_state()
    once, again, otherwise = (Augmentation()(given, stream(seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.allclose(once, otherwise)
    assert torch.equal(given, films())
    assert torch.equal(torch.get_rng_state(), before)


def test_films_stay_films_and_each_is_changed_on_its_own() -> None:
    same = films(1).expand(6, -1, -1, -1)
    changed = Augmentation()(same, stream(1))
    assert changed.shape == same.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1
    assert len({film.numpy().tobytes() for film in changed}) == 6


@pytest.mark.parametrize("kind", ["degrees", "zoom", "stretch", "shift", "gamma", "blur", "noise"])
def test_every_kind_of_change_does_something(kind: str) -> None:
    only = Augmentation(**{**vars(NOTHING), kind: getattr(Augmentation(), kind)})
    assert not torch.allclose(only(films(), stream(1)), films(), atol=1e-3)


def test_a_shift_moves_the_film_by_its_share_at_most() -> None:
    dot = torch.zeros(40, 1, 50, 50)
    dot[:, :, 24:26, 24:26] = 1
    only = Augmentation(**{**vars(NOTHING), "shift": 0.1})
    moved = only(dot, stream(1))
    rows = torch.arange(50.0)
    centre = (moved.sum((1, 3)) * rows).sum(1) / moved.sum((1, 2, 3))
    assert (centre - 24.5).abs().max() <= 5.1
    assert (centre - 24.5).abs().max() > 3


def test_boxes_are_plain_and_no_larger_than_a_caption() -> None:
    grey = torch.full((200, 1, 40, 40), 0.5)
    hidden = (Augmentation(**{**vars(NOTHING), "boxes": 1})(grey, stream(1)) - 0.5).abs() > 1e-3
    share = hidden.float().mean((1, 2, 3))
    assert 0.3 < (share > 0).float().mean() < 0.6
    assert share.max() <= 0.25 * 0.2 + 0.02


def test_under_autocast_places_and_grey_levels_keep_their_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = local_contrast(Augmentation()(films(), stream(1)))
    assert torch.allclose(low, local_contrast(Augmentation()(films(), stream(1))), atol=1e-5)
