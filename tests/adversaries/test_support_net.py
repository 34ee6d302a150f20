"""The network that learns to see through fakes: it does learn, and `keyed` leaves it no better than not looking."""

from __future__ import annotations

import numpy as np
import pytest
from hidden_codes import OWN, HiddenCodes, S, mean_auc

from fedcxr.adversaries import _support_net
from fedcxr.codes import Codes, support
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream
from fedcxr.training.compute import Compute


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> HiddenCodes:
    return HiddenCodes.drawn(tmp_path_factory.mktemp("films"))


def test_no_keyless_decoder_finds_the_support_of_keyed(world: HiddenCodes) -> None:
    """Nor shows a film better than the mean of films one has anyway."""
    practice = world.practice("keyed")
    public = world.hidden("keyed", world.attacked, "1")
    usual = support.prior(practice, len(public))
    np.testing.assert_array_equal(support.likelihood_ratio(public, practice), usual)

    def hide(rows: np.ndarray, step: int) -> Codes:
        return world.hidden("keyed", rows, f"practice {step}")

    budget = _support_net.Budget(steps=25, width=24)
    net = _support_net.train(
        practice, hide, world.codec.expand, budget, stream(1, "net"), Compute.choose("cpu", "fp32")
    )
    scores, expected = net.attack(public)
    assert mean_auc(scores, world.truth) < mean_auc(usual, world.truth) + 0.01
    gained = support.recovered(scores, world.truth, S) - support.recovered(usual, world.truth, S)
    assert gained.mean() < 0.02
    films = world.films[OWN:]
    picture = world.codec.picture(expected, films.shape[1:])
    mean = np.broadcast_to(np.round(world.films[:OWN].mean(axis=0)).astype(np.uint8), films.shape)
    assert (similarity(films, picture)["psnr"] - similarity(films, mean)["psnr"]).mean() < 0.5
    assert support.best_match(picture, films).mean() < 0.25


def test_the_learned_attacker_does_learn(world: HiddenCodes) -> None:
    """The same budget against a broken mechanism: without this, failing against `keyed` would prove nothing."""
    practice = world.practice("gaussian")

    def hide(rows: np.ndarray, step: int) -> Codes:
        return world.hidden("gaussian", rows, f"practice {step}")

    budget = _support_net.Budget(steps=25, width=24)
    net = _support_net.train(
        practice, hide, world.codec.expand, budget, stream(1, "net"), Compute.choose("cpu", "fp32")
    )
    scores, expected = net.attack(world.hidden("gaussian", world.attacked, "1"))
    usual = support.prior(practice, len(world.truth))
    assert mean_auc(scores, world.truth) > mean_auc(usual, world.truth) + 0.02
    films = world.films[OWN:]
    assert support.best_match(world.codec.picture(expected, films.shape[1:]), films).mean() > 0.9
