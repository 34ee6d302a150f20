"""Films of one's own, protected again and again: what has to be found on them is found once and moves with them."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.adversaries._views import AnyOf, Views
from fedcxr.methods import ImageMethod, RunContext
from fedcxr.methods.noise import Noise
from fedcxr.methods.none import Unprotected
from fedcxr.models.lungs import LungFinder
from fedcxr.rng import stream
from fedcxr.training import moved, offsets, shifted
from fedcxr.view import Appearance, Films, Masks

FILMS = stream(5).integers(40, 200, (6, 32, 32), dtype=np.uint8)
LUNGS = np.zeros((32, 32), dtype=bool)
LUNGS[6:26, 4:13] = LUNGS[6:26, 19:28] = True
ROWS = (np.array([4, 0, 2, 4]), np.array([2, 5, 1, 1]), np.array([0, 3, 5, 4]))


def look(method: ImageMethod) -> Appearance:
    found = method.appearance(FILMS, {}, RunContext())
    assert found is not None
    return found


def test_lungs_are_found_once_on_each_film_and_move_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def masks(self: LungFinder, films: Films) -> Masks:
        asked.extend(map(bytes, films))
        return np.stack([LUNGS] * len(films))

    monkeypatch.setattr(LungFinder, "masks", masks)
    views, rng, again = Views.protected(FILMS, look(Noise(where="outside_lungs")), 1), stream(1), stream(1)
    for rows in ROWS:
        released, by = views.released(rows, rng), offsets(len(rows), 1, again)
        clean, spared = moved(FILMS[rows], by), moved(np.stack([LUNGS] * len(rows)), by)
        everywhere = Noise().protect(clean, again)
        np.testing.assert_array_equal(released, np.where(spared, clean, everywhere))
    assert sorted(asked) == sorted(map(bytes, FILMS))


def test_lungs_that_moved_with_a_film_are_those_found_on_it_but_for_their_outline() -> None:
    from fedcxr.data.phantom import Phantom
    from fedcxr.data.phantom.render import render

    films = render(9, Phantom(patients=6, size=64, seed=9, mean_visits=1)._visits(), 64)
    method = Noise(where="outside_lungs")
    rows, found = np.arange(len(films)), method.marks(films)
    assert found is not None
    remembered = Views.protected(films, look(method), 1).released(rows, stream(1))
    rng = stream(1)
    by = offsets(len(films), 1, rng)
    clean, expected = moved(films, by), moved(found, by)
    anew, new = method.protect(clean, rng), method.marks(clean)
    assert new is not None
    np.testing.assert_array_equal(remembered[expected == new], anew[expected == new])
    assert (expected != new).mean() < 0.03


def test_what_is_not_found_on_films_changes_nothing() -> None:
    """Digit by digit what it was when films were moved and protected in one go."""
    for method in (Noise(), Unprotected()):
        for mechanism in (look(method), AnyOf([look(method)])):
            views, rng, again = Views.protected(FILMS, mechanism, 1), stream(1), stream(1)
            for rows in ROWS:
                np.testing.assert_array_equal(
                    views.released(rows, rng), method.protect(shifted(FILMS[rows], 1, again), again)
                )
