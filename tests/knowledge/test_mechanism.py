"""The method and what it learnt, handed over whole: each site's version by itself, and in a control nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consortium import FILMS_OF, Consortium
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import ConfigError
from fedcxr.knowledge import Holding
from fedcxr.knowledge.mechanism import Mechanism, method_in, taught_in
from fedcxr.methods.noise import Noise
from fedcxr.methods.none import Unprotected
from fedcxr.methods.prichexy_net import PriCheXyNet
from fedcxr.methods.sca import Sca
from fedcxr.plugins import File
from fedcxr.release import Release
from fedcxr.view import Shared, Weights
from fedcxr.world import Roles

MakeConsortium = Callable[..., Consortium]
NAMES = st.text("abc./é", min_size=1, max_size=6)


@pytest.mark.parametrize("granted", [True, False])
def test_it_is_known_only_if_granted(granted: bool, make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(method="noise", knowledge={"mechanism": granted})
    for world in ("protected", "control_shuffled"):
        assert consortium.leak(world=world).mechanism == (consortium.scenario.method if granted else None)
    # On unprotected films the mechanism is none at all, and knowing that is as good as knowing it.
    assert consortium.leak(world="control_raw").mechanism == (Unprotected() if granted else None)


@pytest.mark.parametrize("method", [Noise(scale=0.25), Sca(s=4, fit="local", steps=2), Unprotected()], ids=repr)
def test_the_method_is_read_back_with_all_its_parameters(method: Any, tiny: Consortium, roles: Roles) -> None:
    held = Mechanism().held(replace(tiny.world, method=method), roles)
    assert held is not None
    assert method_in(held) == method


@given(st.lists(st.dictionaries(NAMES, st.integers(-9, 9), min_size=1, max_size=3), max_size=12))
def test_every_sites_version_is_read_back_in_its_order(versions: list[dict[str, int]]) -> None:
    """Whatever arrays are called, and also where there are more than ten."""
    taught = [{name: np.array([value]) for name, value in one.items()} for one in versions]
    arrays = {f"{number:04}/{name}": array for number, one in enumerate(taught) for name, array in one.items()}
    assert taught_in(Holding(arrays)) == (tuple(taught) or ({},))


@pytest.mark.parametrize("sites", [2, 12])
def test_what_each_site_learnt_is_held(sites: int, tiny: Consortium, roles: Roles) -> None:
    def release(number: int) -> Release:
        update = Release("update", f"site-{number}", "greyer", {}, {})
        return update.publishing({"grey/level": np.array([number], dtype=np.int64)})

    shared = Shared([release(number) for number in range(sites)])
    world = replace(tiny.world, traces=replace(tiny.world.released, shared=shared))

    def levels(taught: tuple[Weights, ...]) -> list[int]:
        return [int(weights["grey/level"][0]) for weights in taught]

    held = Mechanism().held(world, roles)
    assert held is not None
    assert levels(taught_in(held)) == list(range(sites))
    unprotected = Mechanism().held(replace(world, protects=False), roles)
    assert unprotected is not None
    assert taught_in(unprotected) == ({},)


def test_what_all_learnt_together_is_held_once(make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(FILMS_OF[:10], method="noise")
    learnt = Release("update", "coordinator", "noise", {}).publishing({"grey": np.array([7], dtype=np.int64)})
    world = consortium.experiment.world(Shared(consortium.shared.releases, learnt))
    held = Mechanism().held(world, consortium.put["linkage"]["protected"].roles)
    assert held is not None
    [weights] = taught_in(held)
    assert weights["grey"] == [7]


def test_no_key_is_part_of_it(make_consortium: MakeConsortium) -> None:
    held = make_consortium(FILMS_OF[:10], method="sca").leak().holdings["mechanism"]
    assert held.facts == {"method": Sca().spec()}
    assert not held.arrays


def test_without_what_it_learnt_it_is_learnt_from_own_films(make_consortium: MakeConsortium) -> None:
    """Once, though each of three sites learnt for itself; and no site tells what it learnt."""
    granted = make_consortium(FILMS_OF[:20], method="faults:Greyer")
    withheld = make_consortium(FILMS_OF[:20], method="faults:Greyer", knowledge={"mechanism": {"weights": False}})
    assert all(release.weights for release in granted.shared.releases)
    assert not any(release.weights for release in withheld.shared.releases)
    theirs, [own] = [float(one["grey"][0]) for one in granted.leak().taught], withheld.leak().taught
    mine = withheld.leak().own
    mean = mine.films[~mine.held_out].mean()
    assert mean <= own["grey"][0] <= mean + 1
    assert len(theirs) == 3
    assert own["grey"][0] not in theirs
    # The films are the same where identities mean nothing, and so is what is learnt; unprotected there is nothing.
    assert withheld.leak(world="control_shuffled").taught == ({"grey": own["grey"]},)
    assert withheld.leak(world="control_raw").taught == ({},)


def test_it_stays_unknown_where_it_is_told_for_another_release(make_consortium: MakeConsortium) -> None:
    """A hospital's weights make its films a second time; the adversary sees these, and has its own."""
    granted = {"mechanism": {"weights": False}, "releases": 2}
    consortium = make_consortium(FILMS_OF[:20], method="faults:Greyer", knowledge=granted)
    leak = consortium.leak()
    theirs = {float(release.weights["grey"][0]) for release in consortium.shared.releases}
    assert not theirs & {float(one["grey"][0]) for one in leak.taught}
    np.testing.assert_array_equal(leak.holdings["releases"].arrays["films"][0], leak.view.forms["films"])


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Noise(scale=0.2), "of a method that learns, .*given: weights: false, with noise;"),
        (PriCheXyNet(weights=File("w.safetensors")), "with prichexy_net of given weights"),
        (Sca(fit="local"), "with sca, which releases codes"),
    ],
)
def test_where_nothing_is_learnt_or_all_is_told_no_weights_are_withheld(method: Any, said: str) -> None:
    Mechanism().check(method, 3)
    Mechanism(known=False, weights=False).check(method, 3)
    with pytest.raises(ConfigError, match=rf"knowledge.mechanism without weights.*{said}"):
        Mechanism(weights=False).check(method, 3)
