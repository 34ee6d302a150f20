"""Described films compared: by hand, on toy people whose right answer is known, and where nothing can be learnt."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fedcxr.adversaries import _back_end as back_end
from fedcxr.adversaries import _canonical as canonical
from fedcxr.adversaries._back_end import Album, Described
from fedcxr.metrics import auc
from fedcxr.rng import stream


def crowd(people: int, each: int, seed: int, draws: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Films of ten numbers, three of which are the person's; a released film has them elsewhere, and under noise."""
    rng, owner = stream(seed, "crowd"), np.repeat(np.arange(people), each)
    person = rng.normal(size=(people, 3))[owner]
    clean = rng.normal(size=(len(owner), 10)) * ([0.3] * 3 + [4.0] * 7)
    clean[:, :3] += person
    released = rng.normal(size=(draws, len(owner), 10)) * ([3.0] * 3 + [0.8] * 7) + 2
    released[:, :, 7:] += person
    return released.astype(np.float32), clean.astype(np.float32), owner


def cosine(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    a, b = (x - x.mean(axis=0) for x in (some, others))
    alike: np.ndarray = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    return alike


def told(scores: np.ndarray, owner: np.ndarray) -> float:
    apart = ~np.eye(len(owner), dtype=bool)
    return auc((owner[:, None] == owner[None])[apart], scores[apart])


def test_normalised_scores_by_hand() -> None:
    scores = np.array([[3.0]], dtype=np.float32)
    of_released, of_known = np.array([[0.0, 2.0, -9.0]]), np.array([[1.0, 5.0, -9.0]])
    # The two likest: mean 1 and deviation 1 of the released film, 3 and 2 of the known one.
    assert back_end.as_norm(scores, of_released, of_known, top=2)[0, 0] == pytest.approx(
        ((3 - 1) / 1 + (3 - 3) / 2) / 2
    )


def test_twenty_people_teach_more_than_cosine_knows() -> None:
    released, clean, owner = crowd(20, 6, 1, draws=3)
    judge = back_end.learn([Described(released, clean)], Album(owner, owner >= 15))
    first, second, others = crowd(60, 3, 2)
    scores = judge.scores([first[0]], [second])
    assert scores.shape == (180, 180)
    assert scores.dtype == np.float32
    assert told(scores, others) > 0.85
    assert told(cosine(first[0], second), others) < 0.6


def test_the_ratio_is_that_of_two_gaussians() -> None:
    from scipy.stats import multivariate_normal

    rho, a, b = 0.6, 0.7, -1.2
    model = canonical.Canonical((np.zeros(1), np.zeros(1)), (np.eye(1), np.eye(1)), np.array([rho]))
    together = multivariate_normal(cov=[[1, rho], [rho, 1]]).logpdf([a, b])
    apart = multivariate_normal().logpdf(a) + multivariate_normal().logpdf(b)
    constant = -0.5 * np.log(1 - rho**2)  # the same for every pair
    found = model(np.array([[a]], dtype=np.float32), np.array([[b]], dtype=np.float32))[0, 0]
    assert found == pytest.approx(together - apart - constant, rel=1e-5)


def test_where_identities_mean_nothing_nothing_is_learnt() -> None:
    released, clean, owner = crowd(60, 4, 1)
    by_lot = stream(1, "lot").permutation(owner)
    judge = back_end.learn([Described(released, clean)], Album(by_lot, by_lot % 4 == 0))
    first, second, others = crowd(60, 3, 2)
    assert 0.4 < told(judge.scores([first[0]], [second]), others) < 0.6


@pytest.mark.parametrize("held_out", [0, 1, 4], ids=["nobody", "one person", "four people"])
def test_few_people_held_out_are_no_error(held_out: int) -> None:
    released, clean, owner = crowd(12, 2, 1)
    judge = back_end.learn([Described(released, clean, cosine)], Album(owner, owner < held_out))
    assert np.isfinite(judge.scores([released[0]], [clean])).all()


def test_a_network_that_knows_is_believed_and_one_that_guesses_is_not() -> None:
    released, clean, owner = crowd(60, 4, 3)
    rng, album = stream(2, "guess"), Album(owner, owner % 3 == 0)
    guess = Described(
        rng.normal(size=released.shape).astype(np.float32), rng.normal(size=clean.shape).astype(np.float32), cosine
    )
    knows = Described(released, clean)
    first, second, others = crowd(60, 3, 4)
    lot = rng.normal(size=(2, *second.shape)).astype(np.float32)
    alone = told(back_end.learn([knows], album).scores([first[0]], [second]), others)
    both = told(back_end.learn([knows, guess], album).scores([first[0], lot[0]], [second, lot[1]]), others)
    assert both > alone - 0.02


def test_fused_scores_are_log_odds_at_even_prior_odds() -> None:
    rng, genuine = stream(1, "odds"), np.arange(40000) % 10 == 0
    told_of = (rng.normal(size=len(genuine)) + 2 * genuine, rng.normal(size=len(genuine)) + 2 * genuine)
    fusion = back_end.fuse(told_of, genuine)
    # Two Gaussians two apart, twice and independently: log-odds are 2 x - 2 + 2 y - 2.
    points = [np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 1.0, 1.0]])]
    np.testing.assert_allclose(fusion(points)[0], [-4, 0, 2], atol=0.35)


def test_a_score_that_points_the_wrong_way_or_far_away_is_no_evidence() -> None:
    rng, genuine = stream(3, "odds"), np.arange(4000) % 4 == 0
    good, backwards = rng.normal(size=4000) + 2 * genuine, rng.normal(size=4000) - genuine
    fusion = back_end.fuse((good, backwards), genuine)
    assert fusion.weights[1] == 0
    wild = fusion([np.array([[1e9]]), np.array([[-1e9]])])
    assert np.isfinite(wild).all()
    assert wild[0, 0] < 25


def test_scores_over_a_persons_films_by_hand() -> None:
    scores, people = np.array([[1.0, 4.0, 3.0]], dtype=np.float32), np.array([7, 2, 7])
    assert back_end.over_people(scores, people, "mean").tolist() == [[2, 4, 2]]
    assert back_end.over_people(scores, people, "maximum").tolist() == [[3, 4, 3]]
    assert back_end.mean_of_people(scores.T, people).ravel().tolist() == [2, 4, 2]


@hypothesis.given(st.integers(1, 70), st.integers(1, 70))
def test_a_small_picture_keeps_a_plain_film(height: int, width: int) -> None:
    films = np.full((2, height, width), 51, dtype=np.uint8)
    numbers = back_end.small_pictures(films)
    assert numbers.shape[1] <= back_end.SIDE**2
    np.testing.assert_allclose(numbers, 0.2, rtol=1e-5)


def test_learning_repeats_and_changes_nothing() -> None:
    released, clean, owner = crowd(20, 3, 1)
    kept = released.copy(), clean.copy(), owner.copy()
    for array in (released, clean, owner):
        array.flags.writeable = False
    one, again = (
        back_end.learn([Described(released, clean, cosine)], Album(owner, owner < 5)).scores([released[0]], [clean])
        for _ in range(2)
    )
    assert np.array_equal(one, again)
    assert all(np.array_equal(array, before) for array, before in zip((released, clean, owner), kept, strict=True))


def test_factors_are_the_same_where_the_fast_way_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(1).normal(size=(12, 3)) @ np.random.default_rng(2).normal(size=(3, 12))
    fast = canonical._svd(matrix)

    def gives_up(of: np.ndarray) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", gives_up)
    slow = canonical._svd(matrix)
    for left, values, right in (fast, slow):
        assert np.allclose(left * values @ right, matrix)
    assert np.allclose(fast[1], slow[1])
