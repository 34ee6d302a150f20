"""Noise has the distribution it says, where clipping to 8 bits does not hide it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy import stats

from fedcxr.errors import DataError
from fedcxr.methods import to_eight_bits
from fedcxr.methods.noise import Noise
from fedcxr.rng import stream

Distribution = Literal["gaussian", "laplace", "exponential"]
DISTRIBUTIONS = {"gaussian": stats.norm, "laplace": stats.laplace, "exponential": stats.expon}
GREY = 128
SIZE = 128  # pixels: 10 films of 16384 values


def shifts(distribution: str, scale: float, grey: int = GREY) -> np.ndarray:
    films = np.full((10, SIZE, SIZE), grey, dtype=np.uint8)
    noise = Noise.model_validate({"distribution": distribution, "scale": scale})
    return noise.protect(films, stream(3, "noise")).astype(np.float64).ravel() - grey


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("scale", [0.02, 0.05])
def test_mean_and_spread(distribution: str, scale: float) -> None:
    shift = shifts(distribution, scale) / 255.0
    expected = DISTRIBUTIONS[distribution](scale=scale)
    deviation = expected.std() / np.sqrt(shift.size)
    assert shift.mean() == pytest.approx(expected.mean(), abs=4 * deviation + 2e-4)
    # Rounding to 8 bits adds the variance of one grey level's width, 1/12; the far tails are clipped.
    spread = np.hypot(expected.std(), 1 / 255 / np.sqrt(12))
    assert shift.std() == pytest.approx(spread, rel=0.01)


def test_by_hand() -> None:
    """Standard deviations are sigma, sqrt(2) lambda and beta; only the exponential moves the mean, upwards."""
    levels = {name: shifts(name, 0.04) for name in DISTRIBUTIONS}  # 0.04 of 255 is 10.2 grey levels
    assert levels["gaussian"].std() == pytest.approx(10.2, rel=0.01)
    assert levels["laplace"].std() == pytest.approx(10.2 * 2**0.5, rel=0.015)
    assert levels["exponential"].std() == pytest.approx(10.2, rel=0.015)
    assert levels["gaussian"].mean() == pytest.approx(0, abs=0.15)
    assert levels["laplace"].mean() == pytest.approx(0, abs=0.2)
    assert levels["exponential"].mean() == pytest.approx(10.2, abs=0.15)
    assert levels["exponential"].min() >= 0


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_shape_of_the_distribution(distribution: str) -> None:
    shift = shifts(distribution, 0.05)
    expected = DISTRIBUTIONS[distribution](scale=0.05 * 255)
    # At the middle between two grey levels, rounding does not matter.
    for level in (-30, -10, -3, 0, 3, 10, 30, 60):
        share = expected.cdf(level + 0.5)
        tolerance = 4 * np.sqrt(max(share * (1 - share), 1e-6) / shift.size) + 1e-5
        assert (shift <= level).mean() == pytest.approx(share, abs=tolerance), level


def test_noise_is_independent_from_pixel_to_pixel_and_film_to_film() -> None:
    shift = shifts("gaussian", 0.05).reshape(10, SIZE, SIZE)
    for one, other in ((shift[:, 1:], shift[:, :-1]), (shift[:, :, 1:], shift[:, :, :-1]), (shift[1:], shift[:-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4.5 / np.sqrt(one.size)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_scale_zero_is_the_film_itself(distribution: Distribution) -> None:
    films = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    noise = Noise(distribution=distribution, scale=0.0)
    np.testing.assert_array_equal(noise.protect(films, stream(0)), films)


def test_heavy_noise_is_clipped_and_does_not_wrap_around() -> None:
    black, white = (shifts("gaussian", 0.3, grey) + grey for grey in (0, 255))
    assert (black == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert (white == 255).mean() == pytest.approx(0.5, abs=0.01)
    assert set(np.unique(shifts("gaussian", 10.0) + GREY)) >= {0.0, 255.0}


def test_noise_does_not_depend_on_how_films_are_cut_into_chunks() -> None:
    films = np.full((5, 8, 8), GREY, dtype=np.uint8)
    for distribution in DISTRIBUTIONS:
        noise = Noise.model_validate({"distribution": distribution})
        rng = stream(1)
        parts = [noise.protect(part, rng) for part in (films[:2], films[2:])]
        np.testing.assert_array_equal(np.concatenate(parts), noise.protect(films, stream(1)))


def test_eight_bits_are_rounded_and_not_cut_off() -> None:
    films = np.array([[[-1.0, 0.0, 0.49 / 255, 0.51 / 255, 100.4 / 255, 100.6 / 255, 1.0, 7.0]]])
    assert to_eight_bits(films).tolist() == [[[0, 0, 0, 1, 100, 101, 255, 255]]]
    assert to_eight_bits(films.astype(np.float32)).dtype == np.uint8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_eight_bits_cannot_hold_what_is_not_finite(value: float) -> None:
    with pytest.raises(DataError, match="not finite"):
        to_eight_bits(np.array([[[0.5, value]]]))
