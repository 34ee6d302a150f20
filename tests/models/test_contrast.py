"""Local contrast: the same for every exposure, and a blur that scipy agrees with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fedcxr.models.contrast import blurred, local_contrast
from fedcxr.rng import stream


def noise(size: int = 48) -> torch.Tensor:
    return torch.from_numpy(stream(0).random((2, 1, size, size), dtype=np.float32))


@pytest.mark.parametrize("deviation", [1.0, 2.5])
def test_the_blur_is_scipys(deviation: float) -> None:
    reach = int(np.ceil(2 * deviation))
    expected = [gaussian_filter(film[0], deviation, mode="nearest", radius=reach) for film in noise().numpy()]
    assert blurred(noise(), deviation)[:, 0].numpy() == pytest.approx(np.stack(expected), abs=1e-5)


def test_brightness_and_contrast_of_the_whole_film_do_not_matter() -> None:
    one, other = local_contrast(noise()), local_contrast(0.3 + 0.6 * noise())
    assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.999
    assert 0.8 < one.std() < 1.2


def test_a_plain_film_has_none() -> None:
    assert local_contrast(torch.full((1, 1, 20, 20), 0.7)).abs().max() < 1e-3
