"""Sheets of films as attackers restored them: a column for each attacker, and one method below the other."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr.runs.pictures import GAP, LINE, TILE, reconstructions, stacked

FILMS = np.stack([np.full((8, 8), grey, dtype=np.uint8) for grey in (40, 80)])


@pytest.mark.parametrize(("released", "columns"), [(None, [0, 100]), (FILMS + 50, [0, 50, 100])])
def test_a_row_for_each_film_and_a_column_for_each_attacker(released: np.ndarray | None, columns: list[int]) -> None:
    drawn = np.asarray(reconstructions(FILMS, released, {"unet": FILMS + 100}, "noise"))
    pitch, middle = TILE + GAP, GAP + TILE // 2
    for row, grey in enumerate((40, 80)):
        shown = [drawn[LINE + 8 + row * pitch + TILE // 2, place * pitch + middle] for place in range(len(columns))]
        assert shown == [grey + added for added in columns]


def test_methods_stand_below_each_other() -> None:
    one, two = reconstructions(FILMS, FILMS, {}, "a"), reconstructions(FILMS, None, {}, "b")
    both = np.asarray(stacked([one, two]))
    np.testing.assert_array_equal(both[: one.height], np.asarray(one))
    np.testing.assert_array_equal(both[one.height :, : two.width], np.asarray(two))
