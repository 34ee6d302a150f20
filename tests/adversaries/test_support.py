"""Attacks on phantoms' codes: they break what is broken, and `keyed` leaves them no better than not looking."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from fedcxr.adversaries._support import Practice

from fedcxr.adversaries import _support, _support_net
from fedcxr.codes import Codes
from fedcxr.codes.ambiguation import Ambiguation, Rule, ambiguate
from fedcxr.data.phantom import Phantom
from fedcxr.keys import MasterKey
from fedcxr.methods import Workshop
from fedcxr.methods._codec import Codec
from fedcxr.methods.sca import Sca
from fedcxr.metrics import auc
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream
from fedcxr.training.compute import Compute

S, S_N = 8, 24
COMPUTE = Compute.choose("cpu", "fp32")
OWN = 40  # films of the adversary; the others are attacked


@dataclass(frozen=True)
class World:
    films: np.ndarray
    codes: Codes
    codec: Codec
    keys: MasterKey

    def hidden(self, ambiguation: Ambiguation, rows: np.ndarray, release: str) -> Codes:
        rule = Rule(ambiguation, Sca(s=S).shape(self.films.shape[1:]), S_N)
        key = self.keys.release_key(release)
        others = [np.roll(self.codes, -row - 1, axis=0)[:4] for row in rows]
        pairs = zip(rows, others, strict=True)
        return np.stack([ambiguate(self.codes[r], rule, key.image_key(str(r)), "v", o).public for r, o in pairs])

    def practice(self, ambiguation: Ambiguation) -> Practice:
        rows = np.arange(OWN)
        return Practice(self.hidden(ambiguation, rows, "practice"), self.codes[rows])

    @property
    def attacked(self) -> np.ndarray:
        return np.arange(OWN, len(self.films))

    @property
    def truth(self) -> Codes:
        return self.codes[OWN:]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    cohort = Phantom(patients=40, size=128, mean_visits=2).open(tmp_path_factory.mktemp("films"))
    films = cohort.films()[:60]
    codec = Sca(s=S).codec({}, Workshop("cpu", "fp32"))
    return World(films, codec.encode(films), codec, MasterKey(b"k" * 32, "site-1", 1))


def mean_auc(scores: np.ndarray, codes: Codes) -> float:
    return float(np.mean([auc((c != 0).ravel(), s.ravel()) for c, s in zip(codes, scores, strict=True)]))


def test_the_published_mechanism_gives_its_key_away(world: World) -> None:
    public = world.hidden("published", world.attacked, "1")
    scores = _support.exact_order(public, S_N)
    assert _support.recovered(scores, world.truth, S).mean() >= 0.9
    assert mean_auc(scores, world.truth) > 0.98
    guess = np.where(_support.chosen(scores, S), public, np.int8(0))
    films = world.films[OWN:]
    attacker, authorised = (
        similarity(films, world.codec.decode(codes, films.shape[1:]))["psnr"].mean() for codes in (guess, world.truth)
    )
    assert attacker > authorised - 1.5


@pytest.mark.parametrize(("ambiguation", "at_least"), [("gaussian", 0.93), ("matched", 0.86), ("decoy", 0.8)])
def test_a_likelihood_ratio_sees_through_fakes_in_place(
    world: World, ambiguation: Ambiguation, at_least: float
) -> None:
    practice = world.practice(ambiguation)
    public = world.hidden(ambiguation, world.attacked, "1")
    assert mean_auc(_support.likelihood_ratio(public, practice), world.truth) > at_least


def test_no_keyless_decoder_finds_the_support_of_keyed(world: World) -> None:
    """Nor shows a film better than the mean of films one has anyway."""
    practice = world.practice("keyed")
    public = world.hidden("keyed", world.attacked, "1")
    usual = _support.prior(practice, len(public))
    np.testing.assert_array_equal(_support.likelihood_ratio(public, practice), usual)

    def hide(rows: np.ndarray, step: int) -> Codes:
        return world.hidden("keyed", rows, f"practice {step}")

    budget = _support_net.Budget(steps=25, width=24)
    net = _support_net.train(
        practice, hide, world.codec.expand, budget, stream(1, "net"), Compute.choose("cpu", "fp32")
    )
    scores, expected = net.attack(public)
    assert mean_auc(scores, world.truth) < mean_auc(usual, world.truth) + 0.01
    gained = _support.recovered(scores, world.truth, S) - _support.recovered(usual, world.truth, S)
    assert gained.mean() < 0.02
    films = world.films[OWN:]
    picture = world.codec.picture(expected, films.shape[1:])
    mean = np.broadcast_to(np.round(world.films[:OWN].mean(axis=0)).astype(np.uint8), films.shape)
    assert (similarity(films, picture)["psnr"] - similarity(films, mean)["psnr"]).mean() < 0.5
    assert _support.best_match(picture, films).mean() < 0.25


def test_the_learned_attacker_does_learn(world: World) -> None:
    """The same budget against a broken mechanism: without this, failing against `keyed` would prove nothing."""
    practice = world.practice("gaussian")

    def hide(rows: np.ndarray, step: int) -> Codes:
        return world.hidden("gaussian", rows, f"practice {step}")

    budget = _support_net.Budget(steps=25, width=24)
    net = _support_net.train(
        practice, hide, world.codec.expand, budget, stream(1, "net"), Compute.choose("cpu", "fp32")
    )
    scores, expected = net.attack(world.hidden("gaussian", world.attacked, "1"))
    usual = _support.prior(practice, len(world.truth))
    assert mean_auc(scores, world.truth) > mean_auc(usual, world.truth) + 0.02
    films = world.films[OWN:]
    assert _support.best_match(world.codec.picture(expected, films.shape[1:]), films).mean() > 0.9


@pytest.mark.parametrize("ambiguation", ["gaussian", "matched"])
def test_two_releases_with_fresh_fakes_are_intersected(world: World, ambiguation: Ambiguation) -> None:
    one, other = (world.hidden(ambiguation, world.attacked, release) for release in ("1", "2"))
    assert _support.recovered(_support.intersection(one, other), world.truth, S).mean() > 0.85


def test_who_has_a_film_recognises_it_whatever_the_shuffle(world: World) -> None:
    same = np.eye(len(world.truth), dtype=bool).ravel()
    keyed = _support.candidates_by_values(world.hidden("keyed", world.attacked, "1"), world.truth)
    assert auc(same, keyed.ravel()) > 0.999
    clear = _support.candidates_in_place(world.hidden("matched", world.attacked, "1"), world.truth)
    assert auc(same, clear.ravel()) == 1.0


def test_the_order_attack_by_hand() -> None:
    """One cell: -9 -5 true, -3 -1 fake; 2 4 true, 7 8 fake."""
    public = np.zeros((1, 64, 1, 1), dtype=np.int8)
    public[0, :8, 0, 0] = [-3, 7, -9, 2, -1, 4, 8, -5]
    scores = _support.exact_order(public, 4)
    assert np.flatnonzero(_support.chosen(scores, 4)[0, :, 0, 0]).tolist() == [2, 3, 5, 7]


@pytest.mark.parametrize("together", [1, 2, 4])
def test_an_attack_decides_for_the_best_places_of_cells_that_share(together: int) -> None:
    scores = stream(1, "scores").normal(size=(3, 128, 5, 6)).astype(np.float32)
    support = _support.chosen(scores, 4, together).reshape(3, 2, 64, 5, 6)
    split = scores.reshape(support.shape)
    for n, number, i, j in product(range(3), range(2), range(0, 5, together), range(0, 6, together)):
        square = np.s_[n, number, :, i : i + together, j : j + together]
        s = 4 * split[square][0].size
        np.testing.assert_array_equal(support[square], split[square] >= np.sort(split[square], axis=None)[-s])
    codes = support.reshape(scores.shape).astype(np.int8)
    np.testing.assert_array_equal(_support.recovered(scores, codes, 4, together), 1.0)


def test_a_match_is_with_ones_own_film_and_no_tie() -> None:
    films = stream(1, "films").integers(0, 256, (5, 8, 8)).astype(np.uint8)
    assert _support.best_match(films, films).all()
    assert not _support.best_match(films[[1, 2, 3, 4, 0]], films).any()
    assert not _support.best_match(films, films[[0, 0, 0, 0, 0]]).any()
