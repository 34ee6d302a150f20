"""What attackers of the support make of released codes: everything of broken mechanisms, and of `keyed` no picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from server.recovery import Truth, score_recovery, score_same_film

from fedcxr.adversaries import Guess, Leak, Pairs, _support
from fedcxr.adversaries.support import Support
from fedcxr.data import cache_folder
from fedcxr.methods import Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.metrics import auc
from fedcxr.protocol import site_step
from fedcxr.scenario import Scenario
from fedcxr.simulation.custody import simulated
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Threat
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")
QUICK = Support(steps=20, width=24)


def ignore(stage: str, step: int, steps: int) -> None:
    pass


def world(method: str, ambiguation: str | None = None) -> tuple[Leak, Truth]:
    parameters = {"name": method} | ({"ambiguation": ambiguation} if ambiguation else {})
    scenario = Scenario.parse(
        {
            "sites": 2,
            "cohort": {"source": "phantom", "patients": 120, "size": 64},
            "method": parameters,
            "knowledge": {"releases": 2, "pairs": 12},
            "tasks": {},
            "adversaries": {},
            "compute": {"device": "cpu", "precision": "fp32"},
        }
    )
    experiment = Experiment.open(scenario, cache_folder())
    releases = [
        site_step(scenario, site, experiment.site(site), simulated(scenario, site)) for site in scenario.site_names
    ]
    threat = Threat(experiment)
    truth = Truth.of(threat, threat.answers(releases), releases, None)
    assert truth is not None
    return threat.leaks(releases)["protected"], truth


@pytest.fixture(scope="module")
def keyed() -> tuple[Leak, Truth]:
    return world("sca", "keyed")


@pytest.fixture(scope="module")
def published() -> tuple[Leak, Truth]:
    return world("sca", "published")


def figures(guesses: dict[str, Guess], truth: Truth) -> dict[str, dict[str, dict[str, object]]]:
    return {entry["attacker"]: entry for entry in score_recovery(guesses, "support", truth, seed=0)}


def test_published_codes_are_recovered(published: tuple[Leak, Truth]) -> None:
    leak, truth = published
    found = figures(dict(QUICK.recover(leak, 1, FP32, ignore)), truth)
    assert list(found) == ["prior", "order", "llr", "net", "twice"]
    assert found["order"]["recovered"]["ci95"][0] >= 0.9  # type: ignore[index]
    assert found["twice"]["recovered"]["ci95"][0] >= 0.9  # type: ignore[index]
    assert found["order"]["over_mean_db"]["ci95"][0] > 8  # type: ignore[index]
    assert found["order"]["link_rate"]["value"] == 1.0
    assert found["prior"]["link_rate"]["value"] <= 2 / len(truth.films)  # type: ignore[operator]


def test_keyed_codes_show_no_film(keyed: tuple[Leak, Truth]) -> None:
    """However they are looked at, and whether once or twice: the mean film is as good, and links as few."""
    leak, truth = keyed
    found = figures(dict(QUICK.recover(leak, 1, FP32, ignore)), truth)
    assert list(found) == ["prior", "llr", "net", "twice"]
    usual = found.pop("prior")
    for entry in found.values():
        assert entry["over_mean_db"]["ci95"][0] <= 0  # type: ignore[index]
        assert entry["over_mean_db"]["value"] < 0.3  # type: ignore[operator]
        assert entry["support_auc"]["value"] < usual["support_auc"]["value"] + 0.005  # type: ignore[operator]
        assert entry["recovered"]["value"] < usual["recovered"]["value"] + 0.01  # type: ignore[operator]
        assert entry["link_rate"]["ci95"][0] <= 1 / len(truth.films)  # type: ignore[index]


@pytest.mark.parametrize("ambiguation", ["gaussian", "matched", "decoy"])
def test_two_releases_of_one_film_are_intersected(ambiguation: str) -> None:
    leak, truth = world("sca", ambiguation)
    both = Support(recovery=("prior", "twice"))
    found = figures(dict(both.recover(leak, 1, FP32, ignore)), truth)
    assert found["twice"]["recovered"]["value"] > 0.85  # type: ignore[operator]
    assert found["twice"]["recovered"]["value"] > found["prior"]["recovered"]["value"] + 0.2  # type: ignore[operator]
    assert leak.coded is not None
    once = replace(leak, coded=replace(leak.coded, again=None))
    assert list(both.recover(once, 1, FP32, ignore)) == ["prior"]


def test_another_release_of_the_same_films_agrees_where_it_must(keyed: tuple[Leak, Truth]) -> None:
    """The same true values, shuffled anew: as many places agree as chance has it."""
    coded = keyed[0].coded
    assert coded is not None
    assert coded.public is not None
    assert coded.again is not None
    assert coded.again.shape == coded.public.shape
    kept = np.abs(keyed[1].codes.astype(np.int16)).reshape(len(coded.public), -1)
    for public, again, true in zip(coded.public, coded.again, kept, strict=True):
        counts = [np.bincount(np.abs(c.ravel().astype(np.int16)), minlength=128) for c in (public, again)]
        needed = np.bincount(true[true > 0], minlength=128)
        assert all((count >= needed).all() for count in counts)
    agree = (coded.public == coded.again).mean()
    levels = [np.bincount(c.ravel().astype(int) + 128, minlength=256) / c.size for c in (coded.public, coded.again)]
    assert agree < 1.2 * float(levels[0] @ levels[1]) + 0.01


def test_sealed_codes_leave_nothing_to_recover_by() -> None:
    leak, truth = world("sealed")
    assert list(QUICK.recover(leak, 1, FP32, ignore)) == ["prior"]
    assert not QUICK.recognise(leak, FP32)
    assert leak.coded is not None
    assert leak.coded.again is None
    assert leak.coded.pairs is None
    assert truth.codes.shape[1] == 64


def test_recovery_repeats_and_depends_on_the_seed(keyed: tuple[Leak, Truth]) -> None:
    short = Support(recovery=("net",), steps=3, width=8)
    one, other, another = (short.recover(keyed[0], seed, FP32, ignore)["net"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.support, other.support)
    np.testing.assert_array_equal(one.pictures, other.pictures)
    assert not np.array_equal(one.support, another.support)


def test_only_what_is_asked_for_is_tried(published: tuple[Leak, Truth]) -> None:
    assert list(Support(recovery=("llr",)).recover(published[0], 1, FP32, ignore)) == ["llr"]
    assert Support(recovery=()).recover(published[0], 1, FP32, ignore) == {}
    assert QUICK.briefly().recovery == ()


@pytest.mark.parametrize("which", ["keyed", "published"])
def test_who_has_a_film_recognises_its_code(which: str, request: pytest.FixtureRequest) -> None:
    leak, truth = request.getfixturevalue(which)
    alike = dict(QUICK.recognise(leak, FP32))
    assert list(alike) == ["values" if which == "keyed" else "place"]
    [entry] = score_same_film(alike, "support", truth.paired, seed=0)
    assert entry["auc"]["value"] == 1.0
    assert entry["pairs"] == 12


def test_pairs_are_films_of_the_adversarys_with_their_codes(published: tuple[Leak, Truth]) -> None:
    leak, _ = published
    assert leak.coded is not None
    assert isinstance(leak.mechanism, CodeMethod)
    pairs = leak.coded.pairs
    assert isinstance(pairs, Pairs)
    codes = leak.mechanism.codec({}, Workshop.on(FP32)).encode(leak.auxiliary.films[pairs.films])
    assert np.array_equal(np.where(codes != 0, pairs.public, 0), codes)
    assert len(np.unique(pairs.films)) == 12


def test_two_codecs_guess_in_the_order_of_the_leak(published: tuple[Leak, Truth]) -> None:
    """Films of two sites that trained for themselves, interleaved: each guess must be of its own film."""
    leak, truth = published
    assert leak.coded is not None
    mixed = replace(leak.coded, versions=np.arange(len(leak.released)) % 2)
    guess = Support(recovery=("order",)).recover(replace(leak, coded=mixed, learnt=({}, {})), 1, FP32, ignore)["order"]
    assert _support.recovered(guess.support.astype(np.float32), truth.codes, 8).min() > 0.9
    assert _support.best_match(guess.pictures, truth.films).all()
    assert auc((truth.codes[0] != 0).ravel(), guess.support[0].ravel()) > 0.99
