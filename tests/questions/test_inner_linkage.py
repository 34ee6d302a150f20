"""Releases against releases: by hand, across hospitals, and in the hands of somebody who compares pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from consortium import Consortium

from fedcxr.codes.support import correlation
from fedcxr.questions import Heard, _rising
from fedcxr.questions._pairs import ScoredPairs
from fedcxr.questions.inner_linkage import InnerLinkage
from fedcxr.scenario import Scenario

# Two films each of anna, in two hospitals, and of bert, in one; one of cleo.
PATIENTS, SITES = ["anna", "anna", "bert", "bert", "cleo"], ["north", "south", "north", "north", "south"]
SCORES = np.array(
    [[9, 2, 0, 4, 1], [6, 9, 1, 0, 3], [0, 1, 9, 3, 2], [4, 0, 5, 9, 0], [1, 3, 2, 0, 9]], dtype=np.float32
)


def pairs(across: bool) -> ScoredPairs:
    who, where = np.array(PATIENTS, dtype=object), np.array(SITES, dtype=object)
    labels = np.zeros((5, 2), dtype=np.float32)
    return ScoredPairs(who, who, where, where, where, labels, labels, across=across)


def scored(across: bool, scores: np.ndarray = SCORES) -> dict[str, Any]:
    worlds = ("protected", "control_raw", "control_shuffled")
    heard = {world: Heard(pairs(across), {"toy": {"scores": scores}}, 1.0) for world in worlds}
    [entry] = InnerLinkage().score(heard, seed=0)
    return entry


def test_each_pair_counts_once_and_no_film_with_itself() -> None:
    entry = scored(across=False)
    # Anna's pair scores 4 and bert's 4, the means of 2 and 6 and of 3 and 5; others 0, 4, 1, 1, 0, 3, 2 and 0.
    assert entry["pairs"] == {"genuine": 2, "impostor": 8, "queries": 4}
    assert entry["auc"]["value"] == pytest.approx(2 * 7.5 / 16)
    # First: anna's first film ties with bert's second, both ways.
    assert entry["rank1"] == entry["rank_curve"]["1"] == pytest.approx((0.5 + 1 + 1 + 0.5) / 4)


def test_across_hospitals_only_pairs_of_two_hospitals_count() -> None:
    entry = scored(across=True)
    # North holds films 0, 2 and 3, south 1 and 4: anna's 4 against 1, 1, 0, 2 and 0.
    assert entry["pairs"] == {"genuine": 1, "impostor": 5, "queries": 2}
    assert entry["auc"]["value"] == 1.0
    assert entry["open_set"]["unknown"] == 3


@pytest.mark.parametrize("across", [False, True])
def test_which_of_a_pairs_two_scores_is_higher_does_not_matter(across: bool) -> None:
    """And what an adversary says of a film and itself is nobody's figure."""
    other = SCORES.T + np.eye(5, dtype=np.float32) * 1e30
    assert scored(across, other) == scored(across)


# In a simulation ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def travellers(make_consortium: Callable[..., Consortium]) -> Consortium:
    return make_consortium(method="none", partition={"by": "iid", "patient_overlap": 0.5})


@pytest.mark.parametrize("across", ["any", "sites"])
def test_whoever_compares_pixels_joins_what_was_not_protected(across: Any, travellers: Consortium) -> None:
    question = InnerLinkage(across=across)
    heard = {}
    for name, setting in question.settings(travellers.world).items():
        roles = question.roles(setting.world)
        asked = question.ask(setting.world, roles, setting.world.view(), {})
        assert asked is not None
        films = np.asarray(asked.view.forms["films"], dtype=np.uint8)
        assert asked.parts == _rising.parts(asked.parts["scores"])
        assert asked.parts["scores"].shape == (len(films), len(films))
        assert asked.given is not None
        told = asked.given.arrays["sites"]
        released = setting.world.released.sites[setting.world.rows_of(roles.attacked)]
        assert ((told[:, None] == told) == (released[:, None] == released)).all()
        heard[name] = Heard(asked.key, {"pixels": {"scores": correlation(films, films)}}, 1.0)
    [entry] = question.score(heard, seed=0)
    assert entry["auc"]["value"] == entry["control_raw_auc"] == entry["trust"]["correlation_auc"]
    assert entry["pairs"]["genuine"] < entry["pairs"]["impostor"]
    joined: ScoredPairs = heard["protected"].key
    apart = joined.sites[:, None] != joined.sites[None]
    assert (joined.allowed == (apart if across == "sites" else ~np.eye(len(apart), dtype=bool))).all()


def test_where_nobody_goes_to_two_hospitals_nothing_is_asked_across_them(
    make_consortium: Callable[..., Consortium],
) -> None:
    world = make_consortium(method="none").world
    roles = InnerLinkage().roles(world)
    assert InnerLinkage(across="sites").ask(world, roles, world.view(), {}) is None
    assert InnerLinkage().ask(world, roles, world.view(), {}) is not None


def test_it_is_put_only_where_it_is_named(make_scenario: Callable[..., Scenario]) -> None:
    sca = {"method": "sca", "adversaries": ["support"]}
    assert "inner_linkage" not in make_scenario(**sca).questions
    named = make_scenario(**sca, questions={"inner_linkage": {"across": "sites"}})
    assert [*named.questions] == ["inner_linkage"]
