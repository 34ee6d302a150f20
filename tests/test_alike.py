"""A hospital's films made alike by gains of its own: scanners no longer differ, films of one hospital do as before."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakeCohort
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fedcxr.alike import FEWEST, MOST, Gains, made_alike
from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.models.scanner import BORDER, ENERGIES, REACHES
from fedcxr.rng import stream

SIZE, FILMS = 48, 30
EDGE = int(BORDER * SIZE)  # around the middle
ONCE_ROUNDED = 2.5 / 255  # what 8 bits of a pale film leave open, at the gains below

Grey = npt.NDArray[np.float64]  # (n, h, w) in [0, 1]


@lru_cache
def bodies(seed: int = 0) -> Grey:
    """A bright middle under noise with structure of every smaller size, each film with its own contrast of both."""
    rng = stream(seed, "films")
    waves = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(SIZE, 1 / SIZE)]))
    spectrum = np.where(waves < 2, 0, 1 / np.maximum(waves, 2) ** 1.5)
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((FILMS, SIZE, SIZE))) * spectrum).real
    across, down = np.meshgrid(*2 * [(np.arange(SIZE) + 0.5) / SIZE])
    spine = -np.cos(2 * np.pi * across) * np.sin(np.pi * down)
    own = np.exp(0.15 * rng.standard_normal((2, FILMS, 1, 1)))
    made: Grey = 0.5 + 0.2 * own[0] * spine + 0.09 * own[1] * noise / noise.std()
    return made


@pytest.fixture(scope="module")
def stored(make_cohort: MakeCohort) -> Cohort:
    """As many people, with one film each, all to learn from."""
    table = make_cohort((1,) * FILMS, size=SIZE)
    return Cohort.whole(table.pixels, table.index.assign(split="train"))


def of_films(stored: Cohort, shown: Grey) -> Cohort:
    pixels = (np.clip(shown, 0, 1) * 255).round().astype(np.uint8)
    return Cohort.whole(pixels, stored.index.iloc[: len(shown)])


def alike(films: Cohort) -> Cohort:
    return made_alike(films, {"site-1": np.arange(len(films))})


def energies(films: npt.NDArray[np.uint8]) -> Grey:  # (bands,)
    """By SciPy: the root of the mean square of each band in the middle of films."""
    finer, found = films / 255, []
    for reach in REACHES:
        sigma = reach / 64 * SIZE
        coarser = gaussian_filter(films / 255, (0, sigma, sigma), mode="nearest", truncate=4.0)
        found.append((finer - coarser)[:, EDGE:-EDGE, EDGE:-EDGE])
        finer = coarser
    middle = finer[:, EDGE:-EDGE, EDGE:-EDGE]
    found.append(middle - middle.mean((1, 2), keepdims=True))
    return np.sqrt([np.square(band).mean() for band in found])


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 3), gain=st.floats(0.4, 1.0), level=st.floats(-0.05, 0.05), detail=st.floats(0.0, 0.5))
def test_what_comes_out_has_the_energies_that_it_should_have(
    stored: Cohort, seed: int, gain: float, level: float, detail: float
) -> None:
    shown = bodies(seed)
    shown = 0.5 + level + gain * (shown - 0.5) + detail * (shown - gaussian_filter(shown, (0, 2.0, 2.0)))
    assert energies(alike(of_films(stored, shown)).films()) == pytest.approx(ENERGIES, rel=0.15)


@settings(max_examples=8, deadline=None)
@given(gain=st.floats(0.4, 1.0), level=st.floats(-0.1, 0.1))
def test_contrast_and_brightness_of_a_scanner_are_undone(stored: Cohort, gain: float, level: float) -> None:
    shown = 0.5 + 0.8 * (bodies() - 0.5)
    one, other = (alike(of_films(stored, seen)).films() / 255 for seen in (shown, 0.5 + level + gain * (shown - 0.5)))
    inside = (other > 0.02) & (other < 0.98) & (one > 0.02) & (one < 0.98)  # the other scanner may have clipped them
    assert np.sqrt(np.square(one - other)[inside].mean()) < ONCE_ROUNDED / gain
    assert other.mean() == pytest.approx(one.mean(), abs=0.01)


def test_what_differs_between_films_of_one_hospital_stays(stored: Cohort) -> None:
    """Where each film by itself is brought to the same energy, as a network does it, a finding that is energy goes."""
    shown = bodies().copy()
    shown[::2] += 1.0 * (shown[::2] - gaussian_filter(shown[::2], (0, 1.5, 1.5)))
    films = of_films(stored, shown)
    made = alike(films).films()
    ratio = [energies(one[::2])[:2] / energies(one[1::2])[:2] for one in (films.films(), made)]
    assert ratio[0].min() > 1.4
    assert ratio[1] == pytest.approx(ratio[0], rel=0.05)


def test_gains_are_of_the_training_films_and_the_same_every_time(stored: Cohort) -> None:
    films = of_films(stored, bodies())
    split = np.where(np.arange(FILMS) % 3 > 0, "train", "test")
    mixed = Cohort.whole(films.pixels, films.index.assign(split=split))
    changed = films.films()
    changed[split == "test"] = 255 - changed[split == "test"] // 2
    other = Cohort.whole(changed, mixed.index)
    kept = np.flatnonzero(split == "train")
    np.testing.assert_array_equal(alike(other).films(kept), alike(mixed).films(kept))
    again, first = (Gains.fitted(mixed.where("train")) for _ in range(2))
    np.testing.assert_array_equal(again.of_bands, first.of_bands)
    assert again.level == first.level


def test_a_film_is_the_same_whatever_it_is_read_with_and_the_store_is_untouched(stored: Cohort) -> None:
    films = of_films(stored, bodies())
    before = films.films()
    made = alike(films)
    whole = made.films()
    order = stream(0, "order").permutation(FILMS)
    np.testing.assert_array_equal(made.take(order).films(), whole[order])
    np.testing.assert_array_equal(np.concatenate(list(made.chunks(1))), whole)
    np.testing.assert_array_equal(films.films(), before)
    assert made.films([]).shape == (0, SIZE, SIZE)
    assert made.index is films.index


def test_each_hospital_has_gains_of_its_own(stored: Cohort) -> None:
    """Together they are made alike as each is alone."""
    shown = np.repeat(bodies(), 2, axis=0)
    shown[1::2] = 0.45 + 0.5 * (shown[1::2] - 0.5)
    index = stored.index.iloc[np.repeat(np.arange(FILMS), 2)]
    films = Cohort.whole((np.clip(shown, 0, 1) * 255).round().astype(np.uint8), index)
    parts = {site: np.arange(place, 2 * FILMS, 2) for place, site in enumerate(("site-1", "site-2"))}
    made = made_alike(films, parts)
    for rows in parts.values():
        np.testing.assert_array_equal(made.films(rows), alike(films.take(rows)).films())
    one, other = (made.films(rows).astype(float) for rows in parts.values())
    assert np.abs(one - other).mean() < 2  # grey levels, of the same bodies by two scanners


def test_many_films_are_fitted_to_by_some_of_them(stored: Cohort) -> None:
    rows = np.repeat(np.arange(FILMS), 2 * MOST // FILMS)
    films = of_films(stored, bodies())
    many = Gains.fitted(films.take(rows))
    assert many.of_bands == pytest.approx(Gains.fitted(films).of_bands, rel=0.02)


def test_too_few_films_are_refused_with_the_hospital_s_name(stored: Cohort) -> None:
    films = of_films(stored, bodies()).take(np.arange(FEWEST))
    alike(films)
    with pytest.raises(DataError, match=rf"site-2 has too few films.*given: {FEWEST - 1} training.*{FEWEST} or more"):
        made_alike(films, {"site-2": np.arange(FEWEST - 1)})


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_training_films_that_show_nothing_are_refused_and_others_stay_as_plain(stored: Cohort, grey: int) -> None:
    films = of_films(stored, bodies())
    pixels = films.films()
    pixels[-2:] = grey
    blank = Cohort.whole(pixels, films.index)
    with pytest.raises(DataError, match=f"show nothing.*given: 2 of {FILMS} training films.*set alike to none"):
        alike(blank)
    split = np.where(np.arange(FILMS) < FILMS - 2, "train", "test")
    made = alike(Cohort.whole(pixels, films.index.assign(split=split))).films([FILMS - 1])
    assert np.ptp(made) == 0
