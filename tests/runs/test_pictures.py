"""Sheets of films as attackers restored them: a column for each attacker, and one method below the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcxr.questions._matches import Match
from fedcxr.runs.colours import ORANGE, SKY
from fedcxr.runs.match_sheet import Row, Told, match_sheet
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


def test_right_and_wrong_differ_in_colour_and_in_form() -> None:
    right = Match("at random", 0, 0, 2.0, 1, 0, 2.0, 1, 1, 1.0)
    frames = []
    for match in (right, replace(right, own=1, own_place=2)):
        row = Row(match, FILMS[0], None, FILMS[0], FILMS[1], "", "")
        told = Told("title", ["said"], [], ("a", "b", "c", "d"), (("rows", [row]),), known=2)
        drawn = np.asarray(match_sheet(told)).reshape(-1, 3)
        frames.append([int((drawn == tuple(bytes.fromhex(colour[1:]))).all(axis=1).sum()) for colour in (ORANGE, SKY)])
    (orange, no_sky), (no_orange, sky) = frames
    assert no_sky == no_orange == 0
    assert 0 < sky < 0.8 * orange  # dashes
