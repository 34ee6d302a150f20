"""Noise has the distribution it says, where clipping to 8 bits does not hide it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats

from fedcxr import plugins
from fedcxr.data.phantom import Phantom
from fedcxr.data.phantom.render import render
from fedcxr.errors import ConfigError, DataError
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


# Outside or inside the lungs ------------------------------------------------------------------------------------------

LUNGS = np.zeros((32, 32), dtype=bool)
LUNGS[6:26, 4:13] = LUNGS[6:26, 19:28] = True
NOTHING = np.zeros((32, 32), dtype=bool)
ONE_LUNG = LUNGS & (np.arange(32) < 16)
BEFORE = {"gaussian": "a9e06f31855b979a", "laplace": "1753bb9b40bada03", "exponential": "49d70e9249a5f020"}
FILMS = np.random.default_rng(5).integers(40, 200, (4, 32, 32), dtype=np.uint8)


class _Found:
    """Stands in for the network: masks are given."""

    def __init__(self, *masks: np.ndarray) -> None:
        self.known = dict(zip(map(bytes, FILMS), masks, strict=False))

    def masks(self, films: np.ndarray) -> np.ndarray:
        return np.stack([self.known[bytes(film)] for film in films])


def noise(monkeypatch: pytest.MonkeyPatch, *masks: np.ndarray, **parameters: Any) -> Noise:
    found = _Found(*masks)
    monkeypatch.setattr(Noise, "_finder", lambda self: found)
    return Noise.model_validate({"where": "outside_lungs", **parameters})


def noisy_everywhere(**parameters: Any) -> np.ndarray:
    return Noise.model_validate(parameters).protect(FILMS, stream(1))


def test_noise_on_the_whole_film_is_what_it_was_before_there_were_masks() -> None:
    made = {
        name: hashlib.sha256(noisy_everywhere(distribution=name).tobytes()).hexdigest()[:16] for name in DISTRIBUTIONS
    }
    assert made == BEFORE


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("where", ["outside_lungs", "inside_lungs"])
def test_masks_are_kept_to_exactly(monkeypatch: pytest.MonkeyPatch, distribution: str, where: str) -> None:
    masks = [LUNGS, np.roll(LUNGS, 2, 0), np.roll(LUNGS, 1, 1), LUNGS]
    method = noise(monkeypatch, *masks, where=where, distribution=distribution)
    released = method.protect(FILMS, stream(1))
    noised = np.stack(masks) if where == "inside_lungs" else ~np.stack(masks)
    np.testing.assert_array_equal(released[~noised], FILMS[~noised])
    np.testing.assert_array_equal(released[noised], noisy_everywhere(distribution=distribution)[noised])
    assert (released != FILMS)[noised].mean() > 0.9
    assert list(method.complaints(FILMS)) == [None] * 4


def test_a_film_without_plausible_lungs_gets_noise_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for where in ("outside_lungs", "inside_lungs"):
        method = noise(monkeypatch, LUNGS, NOTHING, ONE_LUNG, LUNGS, where=where, on_bad_mask="whole")
        released = method.protect(FILMS, stream(1))
        np.testing.assert_array_equal(released[1:3], noisy_everywhere()[1:3])
        assert (released[0] == FILMS[0]).mean() > 0.3
        assert not method.leaves_out()
        first, second, third, fourth = method.complaints(FILMS)
        assert (first, second, fourth) == (None, "no lungs found", None)
        assert third is not None


def test_films_without_plausible_lungs_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    method = noise(monkeypatch, LUNGS, NOTHING, ONE_LUNG, LUNGS, on_bad_mask="skip")
    assert method.leaves_out()
    assert [complaint is None for complaint in method.complaints(FILMS)] == [True, False, False, True]
    # Even if somebody released them by mistake, nothing would be uncovered.
    np.testing.assert_array_equal(method.protect(FILMS, stream(1))[1:3], noisy_everywhere()[1:3])


def test_films_without_plausible_lungs_can_stop_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    method = noise(monkeypatch, LUNGS, NOTHING, ONE_LUNG, LUNGS, on_bad_mask="fail")
    with pytest.raises(DataError, match="2 of 4 films") as caught:
        method.protect(FILMS, stream(1))
    assert "no lungs found" in str(caught.value)
    assert "on_bad_mask" in str(caught.value)
    method.protect(FILMS[[0, 3]], stream(1))


def test_masks_play_no_part_on_the_whole_film(monkeypatch: pytest.MonkeyPatch) -> None:
    for policy in ("whole", "skip", "fail"):
        method = noise(monkeypatch, where="all", on_bad_mask=policy)  # a mask asked for would be a KeyError
        np.testing.assert_array_equal(method.protect(FILMS, stream(1)), noisy_everywhere())
        assert list(method.complaints(FILMS)) == [None] * 4
        assert not method.leaves_out()


def test_torch_is_imported_for_masks_only() -> None:
    code = (
        "import sys, numpy as np; from fedcxr.methods.noise import Noise; films = np.zeros((1, 16, 16), np.uint8);"
        "Noise().protect(films, np.random.default_rng(0)); Noise().complaints(films); Noise().required_files();"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_own_weights_that_cannot_be_read_are_found_before_the_work_begins(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    method = Noise(where="outside_lungs", weights=str(own))
    with pytest.raises(ConfigError, match=r"own\.safetensors"):
        method.required_files()
    own.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"own\.safetensors"):
        method.required_files()
    assert Noise(weights=str(own)).required_files() == ()  # never read on the whole film
    assert plugins.build("method", method.spec()) == method


def test_phantoms_with_the_shipped_weights() -> None:
    source = Phantom(patients=12, size=64, seed=9, mean_visits=1)
    films = render(9, source._visits(), 64)
    lungs, _ = source.masks(slice(None))
    method = Noise(where="outside_lungs", distribution="laplace")
    released = method.protect(films, stream(1))
    np.testing.assert_array_equal(released, method.protect(films, stream(1)))
    good = [complaint is None for complaint in method.complaints(films)]
    assert sum(good) >= 11
    untouched = released == films
    assert untouched[good][lungs[good]].mean() > 0.9
    outside = ~lungs.any(0)
    assert untouched[good][:, outside].mean() < 0.4
