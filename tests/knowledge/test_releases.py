"""The attacked films once more under fresh keys or noise: the very films, in the order of the question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from consortium import FILMS_OF, Consortium

from fedcxr.errors import ConfigError
from fedcxr.keys import ReleaseKey
from fedcxr.knowledge.releases import Releases
from fedcxr.methods import Method
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.noise import Noise
from fedcxr.methods.none import Unprotected
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


def test_films_are_released_again_under_other_noise(make_consortium: MakeConsortium) -> None:
    """So that whoever averages them is nearer to each film the more there are, and to that film alone."""
    consortium = make_consortium(method={"name": "noise", "scale": 0.2}, knowledge={"releases": 5})
    one = consortium.put["linkage"][PROTECTED]
    again = one.leak.holdings["releases"].arrays["films"]
    first = np.asarray(one.leak.view.forms["films"])
    assert again.shape == (4, *first.shape)
    assert again.dtype == np.uint8
    every = np.concatenate([first[None], again]).astype(float)
    for i, j in [(0, 1), (1, 2), (3, 4)]:
        assert (every[i] != every[j]).any(axis=(1, 2)).all()
    attacked = consortium.world.rows_of(one.roles.attacked)
    films = consortium.experiment.cohort.films(consortium.world.released.films[attacked]).astype(float)
    errors = [np.abs(every[:times].mean(axis=0) - films).mean(axis=(1, 2)) for times in (1, 2, 5)]
    assert (errors[0] > errors[1]).all()
    assert (errors[1] > errors[2]).all()
    fewer = make_consortium(method={"name": "noise", "scale": 0.2}, knowledge={"releases": 3}).leak()
    np.testing.assert_array_equal(fewer.holdings["releases"].arrays["films"], again[:2])  # a curve is of the same
    assert "releases" not in consortium.leak(world="control_raw").holdings


@pytest.mark.parametrize(
    ("method", "times", "said"),
    [
        (Sca(), 3, r"knowledge.releases of codes are two at most; given: 3, with sca; allowed: 1 to 2"),
        (Sca(), 2, ""),
        (Noise(), 64, ""),
        (Unprotected(), 1, ""),
    ],
)
def test_how_often_is_sensible_depends_on_what_is_released(method: Method, times: int, said: str) -> None:
    if not said:
        Releases(times=times).check(method, 3)
        return
    with pytest.raises(ConfigError, match=said):
        Releases(times=times).check(method, 3)
