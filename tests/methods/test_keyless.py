"""What codes show without a key: of one's own films the same as of others', however few at once."""

from __future__ import annotations

import numpy as np
import pytest
from two_sides import CONTEXT, TwoSides, codes_of

from fedcxr.methods._keyless import Keyless
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> TwoSides:
    return TwoSides.drawn(tmp_path_factory.mktemp("films"))


@pytest.mark.parametrize("ambiguation", ["published", "gaussian", "matched", "decoy", "keyed", "padded"])
def test_shuffled_values_are_not_in_place_even_if_they_are_as_many_as_places(ambiguation: str, sides: TwoSides) -> None:
    looks = Keyless(codes_of("sca", s=32, s_n=32, ambiguation=ambiguation), sides.own.films()[:8], {}, CONTEXT)
    assert looks.practice is not None
    assert looks.practice.public.shape == looks.practice.codes.shape
    assert looks.practice.in_place == (ambiguation not in ("keyed", "padded"))
    shown = looks.protected(sides.films[:2], stream(1))
    assert np.array_equal(shown[0], shown[1]) == (ambiguation == "padded")


@pytest.mark.parametrize("ambiguation", ["published", "gaussian", "matched", "decoy", "keyed", "padded"])
def test_one_makes_of_ones_own_films_what_one_makes_of_others(ambiguation: str, sides: TwoSides) -> None:
    """However few films at once, anew each time, and as a function of the generator alone."""
    films = sides.attacked.films()[:3]
    looks = codes_of("sca", ambiguation=ambiguation).appearance(sides.own.films(), {}, CONTEXT)
    assert looks is not None
    first, again, other = (looks.protected(films, stream(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == films.shape
    # Whose fakes never hide anything, or whose values never show anything.
    assert np.array_equal(first, other) == (ambiguation in ("published", "padded"))
    assert looks.protected(films[:1], stream(1)).shape == films[:1].shape


@pytest.mark.parametrize("ambiguation", ["published", "matched", "keyed"])
def test_ones_own_films_look_as_like_themselves_as_released_ones(ambiguation: str, sides: TwoSides) -> None:
    """What is practised on must be as telling as what is attacked, or practice teaches the wrong thing."""
    method = codes_of("sca", ambiguation=ambiguation)
    looks = method.appearance(sides.own.films(), {}, CONTEXT)
    assert looks is not None
    practised = similarity(sides.films, looks.protected(sides.films, stream(1)))["psnr"].mean()
    attacked = similarity(sides.films, looks.released(sides.leak(method).view))["psnr"].mean()
    assert practised == pytest.approx(attacked, abs=0.5)


def test_where_cells_share_the_usual_film_keeps_more_in_some_than_in_others(sides: TwoSides) -> None:
    keyless = Keyless(codes_of("sca", s=8, together=4, ambiguation="keyed"), sides.own.films(), {}, CONTEXT)
    kept = keyless._usual.sum(axis=0)  # of 8 x 8 cells
    assert kept.min() < 8 < kept.max()
    assert (kept.reshape(2, 4, 2, 4).sum(axis=(1, 3)) == 8 * 16).all()
