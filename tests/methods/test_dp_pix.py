"""DP-Pix: cells of any size, noise of the scale that the guarantee needs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedcxr import plugins
from fedcxr.errors import ConfigError
from fedcxr.methods.dp_pix import DpPix
from fedcxr.rng import stream

NO_NOISE = 1e9  # eps


def films(n: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    return stream(seed, "films").integers(0, 256, (n, h, w), dtype=np.uint8)


def slowly(film: np.ndarray, b: int) -> np.ndarray:
    """Cell by cell, as one would do it by hand."""
    cells = film.astype(float)
    for y in range(0, film.shape[0], b):
        for x in range(0, film.shape[1], b):
            cells[y : y + b, x : x + b] = film[y : y + b, x : x + b].mean()
    return cells


@given(st.integers(1, 13), st.integers(1, 13), st.data())
def test_every_cell_is_its_mean_whether_or_not_b_divides_the_film(h: int, w: int, data: st.DataObject) -> None:
    b = data.draw(st.integers(1, min(h, w)))
    shown = films(2, h, w, seed=h * 20 + w)
    pixelised = DpPix(b=b, eps=NO_NOISE).protect(shown, stream(1))
    assert pixelised.shape == shown.shape
    for film, cells in zip(shown, pixelised, strict=True):
        np.testing.assert_allclose(cells, slowly(film, b), atol=0.5 + 1e-6)


def test_without_noise_cells_of_one_pixel_are_the_film() -> None:
    shown = films(3, 9, 12)
    np.testing.assert_array_equal(DpPix(b=1, eps=NO_NOISE).protect(shown, stream(1)), shown)


@pytest.mark.parametrize(("b", "m", "eps"), [(4, 1, 2.0), (8, 3, 1.0), (3, 2, 5.0)])
def test_noise_of_a_cell_is_laplace_of_scale_255_m_over_b2_eps(b: int, m: int, eps: float) -> None:
    shown = np.full((4000, 2 * b, 2 * b), 128, dtype=np.uint8)
    noise = DpPix(b=b, m=m, eps=eps).protect(shown, stream(2))[:, ::b, ::b].astype(float).ravel() - 128
    expected = stats.laplace(scale=255 * m / (b * b * eps))
    for level in (-20, -5, -1, 0, 4, 30):
        assert (noise <= level).mean() == pytest.approx(expected.cdf(level + 0.5), abs=0.016)


def test_an_incomplete_cell_has_more_noise_because_one_pixel_moves_its_mean_further() -> None:
    """A film of 5 x 5 in cells of 4 ends in cells of 4 x 1, 1 x 4 and 1 x 1."""
    noise = DpPix(b=4, m=1, eps=8.0).protect(np.full((6000, 5, 5), 128, dtype=np.uint8), stream(3)).astype(float) - 128
    for (y, x), pixels in {(0, 0): 16, (0, 4): 4, (4, 0): 4, (4, 4): 1}.items():
        rounding = 1 / 12
        expected = np.sqrt(2 * (255 / (pixels * 8.0)) ** 2 + rounding)
        assert noise[:, y, x].std() == pytest.approx(expected, rel=0.06)


@given(st.integers(2, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 100))
def test_neighbours_are_as_close_as_the_guarantee_says(side: int, b: int, m: int, seed: int) -> None:
    """The privacy loss is at most the sum over cells of how far a mean moves, by its noise's scale."""
    b = min(b, side)
    method = DpPix(b=b, m=m, eps=0.7)
    one = films(1, side, side, seed)
    other = one.copy()
    changed = stream(seed, "pixels").permutation(side * side)[:m]
    other.reshape(-1)[changed] = 255 - np.round(one.reshape(-1)[changed] / 255.0).astype(np.uint8) * 255
    (first, pixels), (second, _) = (method._cells(film) for film in (one, other))
    loss = (np.abs(first - second) / (255 * m / (pixels * method.eps))).sum()
    assert loss <= method.guarantee().epsilon * (1 + 1e-9)


def test_the_guarantee_names_its_unit() -> None:
    guarantee = DpPix(b=4, m=16, eps=0.5).guarantee()
    assert (guarantee.epsilon, guarantee.delta, guarantee.unit) == (0.5, 0.0, "pixel_neighbourhood")
    assert "m = 16 pixels" in guarantee.accountant


def test_noise_does_not_depend_on_how_films_are_cut_into_chunks() -> None:
    shown, method, rng = films(5, 10, 7), DpPix(b=3), stream(1)
    parts = [method.protect(part, rng) for part in (shown[:2], shown[2:])]
    np.testing.assert_array_equal(np.concatenate(parts), method.protect(shown, stream(1)))


def test_a_cell_larger_than_the_film_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"b is larger than the film.*b = 9.*1 \.\.\. 8"):
        DpPix(b=9).protect(films(1, 8, 12), stream(1))


@pytest.mark.parametrize("wrong", [{"eps": 0}, {"eps": -1}, {"b": 0}, {"m": 0}])
def test_parameters_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        plugins.build("method", {"name": "dp_pix", **wrong})
