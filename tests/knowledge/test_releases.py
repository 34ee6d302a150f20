"""The attacked films once more under fresh keys: the very films, in the order of the question, and codes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from consortium import FILMS_OF, Consortium

from fedcxr.keys import ReleaseKey
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.sca import Sca
from fedcxr.questions import PROTECTED

MakeConsortium = Callable[..., Consortium]


def released_again(make: MakeConsortium, **method: Any) -> Consortium:
    return make(FILMS_OF[:20], method={"name": "sca", **method}, knowledge={"releases": 2})


@pytest.mark.parametrize("ambiguation", ["keyed", "matched"])
@pytest.mark.parametrize("world", ["protected", "control_shuffled"])
def test_they_are_the_very_films_under_other_keys(
    ambiguation: str, world: str, make_consortium: MakeConsortium
) -> None:
    consortium = released_again(make_consortium, ambiguation=ambiguation)
    leak = consortium.leak(world=world)
    public, again = leak.view.forms["codes"], leak.holdings["releases"].arrays["codes"]
    assert list(leak.holdings["releases"].arrays) == ["codes"]
    assert again.shape == public.shape
    assert again.dtype == np.int8
    assert (again != public).any(axis=(1, 2, 3)).all()
    # As many values of each size as the film needs are in both.
    attacked = consortium.world.rows_of(consortium.put["linkage"][world].roles.attacked)
    films = consortium.experiment.cohort.films(consortium.world.released.films[attacked])
    for one, other, code in zip(public, again, Sca().codec({}, consortium.world.context).encode(films), strict=True):
        needed, *shown = (np.bincount(np.abs(c.ravel().astype(int)), minlength=128)[1:] for c in (code, one, other))
        assert all((counts >= needed).all() for counts in shown)


def test_each_row_is_of_the_film_in_the_same_row(make_consortium: MakeConsortium) -> None:
    """Opened with the second release's keys, which nobody but the hospital has."""
    consortium = released_again(make_consortium)
    method, world = consortium.scenario.method, consortium.world
    assert isinstance(method, CodeMethod)
    one = consortium.put["linkage"][PROTECTED]
    attacked = world.rows_of(one.roles.attacked)
    again, sites = one.leak.holdings["releases"].arrays["codes"], world.released.sites[attacked]
    places = {site: np.flatnonzero(sites == site) for site in np.unique(sites)}
    assert len(places) == 3
    for release in consortium.shared.releases:
        films = world.cohort.take(world.released.films[attacked][places[release.site]])
        key: ReleaseKey = consortium.experiment.release_key(release.site, "again")
        second = method.release(films, key, {}, np.random.default_rng(0), world.context)
        # Neither the generator nor anything but the key decides what a keyed release of these films is.
        np.testing.assert_array_equal(again[places[release.site]], second.arrays["codes"])


@pytest.mark.parametrize(
    ("method", "times", "world"), [("sca", 1, "protected"), ("sealed", 2, "protected"), ("sca", 2, "control_raw")]
)
def test_there_are_none_where_there_is_nothing_to_see(
    method: str, times: int, world: str, make_consortium: MakeConsortium
) -> None:
    consortium = make_consortium(FILMS_OF[:10], method=method, knowledge={"releases": times})
    assert "releases" not in consortium.leak(world=world).holdings


def test_several_codecs_hide_each_its_own_sites_films(make_consortium: MakeConsortium) -> None:
    """As many rows as are asked about, from sites that trained each for itself."""
    consortium = released_again(make_consortium, fit="local", steps=1, refinement=4, crop=16)
    leak = consortium.leak()
    assert set(leak.view.versions) == {0, 1, 2}
    assert len(leak.holdings["releases"].arrays["codes"]) == len(leak.view)
