"""What attackers of the support make of codes: everything of broken mechanisms, of shuffled codes no picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from codes_recovered import FP32, answers, consortium_of, entries, ignore
from holdings import changed

from fedcxr.adversaries import Leak
from fedcxr.adversaries.support import Support
from fedcxr.codes import support
from fedcxr.metrics import auc

QUICK = Support(steps=20, width=24)


def recovered(attacker: Support, given: Leak, seed: int = 1) -> dict[str, dict[str, np.ndarray]]:
    return {name: dict(one) for name, one in attacker.answer("reconstruction", given, {}, seed, FP32, ignore).items()}


def test_published_codes_are_recovered() -> None:
    published = consortium_of("sca", "published")
    found = entries(answers(QUICK, "reconstruction", published), "reconstruction", published)
    assert list(found) == ["prior", "order", "llr", "net", "twice"]
    assert found["order"]["recovered"]["ci95"][0] >= 0.9
    assert found["twice"]["recovered"]["ci95"][0] >= 0.9
    assert found["order"]["over_mean_db"]["ci95"][0] > 8
    assert found["order"]["link_rate"]["value"] == 1.0
    assert found["prior"]["link_rate"]["value"] <= 2 / found["prior"]["films"]


@pytest.mark.parametrize("ambiguation", ["keyed", "padded"])
def test_shuffled_codes_show_no_film(ambiguation: str) -> None:
    """However they are looked at, and whether once or twice: the mean film is as good, and links as few."""
    shuffled = consortium_of("sca", ambiguation)
    found = entries(answers(QUICK, "reconstruction", shuffled), "reconstruction", shuffled)
    assert list(found) == ["prior", "llr", "net", "twice"]
    usual = found.pop("prior")
    for entry in found.values():
        assert entry["over_mean_db"]["ci95"][0] <= 0
        assert entry["over_mean_db"]["value"] < 0.3
        assert entry["support_auc"]["value"] < usual["support_auc"]["value"] + 0.005
        assert entry["recovered"]["value"] < usual["recovered"]["value"] + 0.01
        assert entry["link_rate"]["ci95"][0] <= 1 / entry["films"]


@pytest.mark.parametrize("ambiguation", ["gaussian", "matched", "decoy"])
def test_two_releases_of_one_film_are_intersected(ambiguation: str) -> None:
    twice = consortium_of("sca", ambiguation)
    both = Support(recovery=("prior", "twice"))
    found = entries(answers(both, "reconstruction", twice), "reconstruction", twice)
    assert found["twice"]["recovered"]["value"] > 0.85
    assert found["twice"]["recovered"]["value"] > found["prior"]["recovered"]["value"] + 0.2
    assert list(recovered(both, changed(twice.leak("reconstruction"), releases=None))) == ["prior"]


def test_sealed_codes_leave_nothing_to_recover_by() -> None:
    sealed = consortium_of("sealed")
    assert list(recovered(QUICK, sealed.leak("reconstruction"))) == ["prior"]
    assert "releases" not in sealed.leak("reconstruction").holdings


def test_recovery_repeats_and_depends_on_the_seed() -> None:
    given = consortium_of("sca", "keyed").leak("reconstruction")
    short = Support(recovery=("net",), steps=3, width=8)
    one, other, another = (recovered(short, given, seed)["net"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one["support"], other["support"])
    np.testing.assert_array_equal(one["pictures"], other["pictures"])
    assert not np.array_equal(one["support"], another["support"])


def test_only_what_is_asked_for_is_tried() -> None:
    given = consortium_of("sca", "published").leak("reconstruction")
    assert list(recovered(Support(recovery=("llr",)), given)) == ["llr"]
    assert recovered(Support(recovery=()), given) == {}
    assert QUICK.on_smoke_budget().recovery == ()


def test_two_codecs_guess_in_the_order_of_the_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films of two sites that trained for themselves, interleaved: each guess must be of its own film."""
    published = consortium_of("sca", "published")
    given, truth = published.leak("reconstruction"), published.put["reconstruction"]["protected"].asked.key
    view = replace(given.view, versions=np.arange(len(given.view)) % 2)
    monkeypatch.setattr(Leak, "taught", ({}, {}))
    guess = recovered(Support(recovery=("order",)), replace(given, view=view))["order"]
    assert support.recovered(guess["support"].astype(np.float32), truth.codes, 8).min() > 0.9
    assert support.best_match(guess["pictures"], truth.films).all()
    assert auc((truth.codes[0] != 0).ravel(), guess["support"][0].ravel()) > 0.99
