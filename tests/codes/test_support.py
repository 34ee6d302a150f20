"""Attacks on phantoms' codes that need no training: they break what is broken, and by hand decide as they should."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hidden_codes import OWN, S_N, HiddenCodes, S, mean_auc

from fedcxr.codes import support
from fedcxr.codes.ambiguation import Ambiguation
from fedcxr.metrics import auc
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> HiddenCodes:
    return HiddenCodes.drawn(tmp_path_factory.mktemp("films"))


def test_the_published_mechanism_gives_its_key_away(world: HiddenCodes) -> None:
    public = world.hidden("published", world.attacked, "1")
    scores = support.exact_order(public, S_N)
    assert support.recovered(scores, world.truth, S).mean() >= 0.9
    assert mean_auc(scores, world.truth) > 0.98
    guess = np.where(support.chosen(scores, S), public, np.int8(0))
    films = world.films[OWN:]
    attacker, authorised = (
        similarity(films, world.codec.decode(codes, films.shape[1:]))["psnr"].mean() for codes in (guess, world.truth)
    )
    assert attacker > authorised - 1.5


@pytest.mark.parametrize(("ambiguation", "at_least"), [("gaussian", 0.93), ("matched", 0.86), ("decoy", 0.8)])
def test_a_likelihood_ratio_sees_through_fakes_in_place(
    world: HiddenCodes, ambiguation: Ambiguation, at_least: float
) -> None:
    practice = world.practice(ambiguation)
    public = world.hidden(ambiguation, world.attacked, "1")
    assert mean_auc(support.likelihood_ratio(public, practice), world.truth) > at_least


@pytest.mark.parametrize("ambiguation", ["gaussian", "matched"])
def test_two_releases_with_fresh_fakes_are_intersected(world: HiddenCodes, ambiguation: Ambiguation) -> None:
    one, other = (world.hidden(ambiguation, world.attacked, release) for release in ("1", "2"))
    assert support.recovered(support.intersection(one, other), world.truth, S).mean() > 0.85


def test_who_has_a_film_recognises_it_whatever_the_shuffle(world: HiddenCodes) -> None:
    same = np.eye(len(world.truth), dtype=bool).ravel()
    keyed = support.candidates_by_values(world.hidden("keyed", world.attacked, "1"), world.truth)
    assert auc(same, keyed.ravel()) > 0.999
    padded = support.candidates_by_values(world.hidden("padded", world.attacked, "1"), world.truth)
    assert auc(same, padded.ravel()) == 0.5  # where all show the same values, nobody does
    clear = support.candidates_in_place(world.hidden("matched", world.attacked, "1"), world.truth)
    assert auc(same, clear.ravel()) == 1.0


def test_the_order_attack_by_hand() -> None:
    """One cell: -9 -5 true, -3 -1 fake; 2 4 true, 7 8 fake."""
    public = np.zeros((1, 64, 1, 1), dtype=np.int8)
    public[0, :8, 0, 0] = [-3, 7, -9, 2, -1, 4, 8, -5]
    scores = support.exact_order(public, 4)
    assert np.flatnonzero(support.chosen(scores, 4)[0, :, 0, 0]).tolist() == [2, 3, 5, 7]


@pytest.mark.parametrize("together", [1, 2, 4])
def test_an_attack_decides_for_the_best_places_of_cells_that_share(together: int) -> None:
    scores = stream(1, "scores").normal(size=(3, 128, 5, 6)).astype(np.float32)
    kept = support.chosen(scores, 4, together).reshape(3, 2, 64, 5, 6)
    split = scores.reshape(kept.shape)
    for n, number, i, j in product(range(3), range(2), range(0, 5, together), range(0, 6, together)):
        square = np.s_[n, number, :, i : i + together, j : j + together]
        s = 4 * split[square][0].size
        np.testing.assert_array_equal(kept[square], split[square] >= np.sort(split[square], axis=None)[-s])
    codes = kept.reshape(scores.shape).astype(np.int8)
    np.testing.assert_array_equal(support.recovered(scores, codes, 4, together), 1.0)


def test_a_match_is_with_ones_own_film_and_no_tie() -> None:
    films = stream(1, "films").integers(0, 256, (5, 8, 8)).astype(np.uint8)
    assert support.best_match(films, films).all()
    assert not support.best_match(films[[1, 2, 3, 4, 0]], films).any()
    assert not support.best_match(films, films[[0, 0, 0, 0, 0]]).any()
