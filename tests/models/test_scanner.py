"""Films of different scanners made alike: what a scanner changes is gone, and what a body shows is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fedcxr.models.options import Normalise
from fedcxr.models.scanner import ENERGIES, FAINT, MIDDLE, SPREAD, Normalised, _blurred, inner
from fedcxr.rng import stream

WAYS: tuple[Normalise, ...] = ("film", "histogram", "bands")


def films(size: int = 64, count: int = 3) -> torch.Tensor:
    """Noise of several sizes, as large as a film's structure."""
    rng = stream(0, "films")
    made = sum(
        weight * np.stack([gaussian_filter(rng.standard_normal((size, size)), size / 64 * reach) for _ in range(count)])
        for reach, weight in ((0.5, 0.1), (2, 0.2), (6, 0.5), (12, 1.5))
    )
    return torch.from_numpy(np.clip(0.5 + made, 0, 1)).float()[:, None]


def scanned(shown: torch.Tensor, gamma: float, gain: float, level: float) -> torch.Tensor:
    return (level + gain * shown.clamp(0, 1) ** gamma).clamp(0, 1)


@pytest.mark.parametrize("how", WAYS)
def test_brightness_and_contrast_do_not_matter(how: Normalise) -> None:
    one, other = Normalised(how)(films()), Normalised(how)(scanned(films(), 1.0, 0.5, 0.2))
    torch.testing.assert_close(other, one, atol=0.04, rtol=0)


def test_no_curve_that_rises_matters_to_a_histogram() -> None:
    """But for the straight pieces between its levels."""
    one, other = (Normalised("histogram")(shown) for shown in (films(), scanned(films(), 2.0, 0.9, 0.05)))
    assert (one - other).abs().mean() < 0.01


@pytest.mark.parametrize("reach", [0.7, 3.0])
def test_processing_that_stresses_fine_or_coarse_structure_does_not_matter_to_bands(reach: float) -> None:
    """Where the stress is on a band of its own; a histogram and a film's own contrast cannot take it away."""
    blurred = torch.from_numpy(gaussian_filter(films().numpy(), (0, 0, reach, reach)))
    stressed = films() + 0.7 * (films() - blurred)

    def apart(how: Normalise) -> float:
        one, other = (Normalised(how)(shown) for shown in (films(), stressed))
        return float((one - other).square().mean().sqrt())

    assert apart("bands") < 0.6 * min(apart("film"), apart("histogram"))


def test_each_band_has_the_energy_that_it_should_have() -> None:
    made = Normalised("bands")(films())
    coarse = _blurred(made, 8.0)
    assert float(inner(coarse - MIDDLE).square().mean().sqrt()) == pytest.approx(ENERGIES[-1], rel=0.25)
    assert float(inner(made).mean()) == pytest.approx(MIDDLE, abs=0.02)


def test_each_film_by_itself_has_the_spread_that_it_should_have() -> None:
    middle = inner(Normalised("film")(films())).flatten(1)
    assert middle.mean(1).numpy() == pytest.approx(MIDDLE, abs=1e-3)
    assert middle.std(1).numpy() == pytest.approx(SPREAD, rel=0.01)


@pytest.mark.parametrize("how", [*WAYS, "none"])
def test_a_film_does_not_hear_of_the_others(how: Normalise) -> None:
    together, alone = Normalised(how)(films()), Normalised(how)(films()[1:2])
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("how", WAYS)
def test_a_size_is_read_as_another_is(how: Normalise) -> None:
    small, large = Normalised(how)(films(64)), Normalised(how)(films(128))
    assert float(small.std()) == pytest.approx(float(large.std()), rel=0.3)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(WAYS), st.integers(16, 40), st.floats(0, 1), st.floats(0, 0.02))
def test_plain_and_odd_films_stay_finite_and_have_slopes(how: Normalise, size: int, grey: float, noise: float) -> None:
    shown = torch.full((2, 1, size, size + 3), grey) + noise * torch.rand(2, 1, size, size + 3)
    shown.requires_grad_()
    made = Normalised(how)(shown)
    made.square().sum().backward()
    assert made.isfinite().all()
    assert made.abs().max() < 2 + noise / FAINT
    assert shown.grad is not None
    assert shown.grad.isfinite().all()


@pytest.mark.parametrize("deviation", [1.0, 5.0])
def test_the_blur_is_scipys(deviation: float) -> None:
    expected = gaussian_filter(films().numpy(), (0, 0, deviation, deviation), mode="nearest", truncate=4.0)
    assert _blurred(films(), deviation).numpy() == pytest.approx(expected, abs=1e-5)


def test_what_was_blurred_without_slopes_is_no_obstacle_to_learning() -> None:
    shown = torch.rand(1, 1, 48, 48)
    with torch.inference_mode():
        Normalised("bands")(shown)
    Normalised("bands")(shown.requires_grad_()).sum().backward()
    assert shown.grad is not None
