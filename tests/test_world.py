"""Worlds for controls: identities by lot and nothing else, or films that nobody protected; and whose each row is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from consortium import FILMS_OF, Consortium, bytes_of

from fedcxr.methods.none import Unprotected
from fedcxr.world import World

MakeConsortium = Callable[..., Consortium]


@pytest.fixture(scope="module")
def consortium(make_consortium: MakeConsortium) -> Consortium:
    return make_consortium(method="noise")


@pytest.fixture(scope="module")
def world(consortium: Consortium) -> World:
    return consortium.world


def test_shuffling_permutes_identities_and_nothing_else(world: World) -> None:
    shuffled = world.shuffled()
    assert replace(shuffled, patients=world.patients, elsewhere=world.elsewhere) == world
    tested = world.tested
    for part in (tested, ~tested):  # apart: nobody is on both sides, in either world
        assert sorted(shuffled.patients[part]) == sorted(world.patients[part])
        assert (shuffled.patients[part] != world.patients[part]).mean() > 0.8
    np.testing.assert_array_equal(shuffled.patients, world.shuffled().patients)
    other = replace(world, seed=world.seed + 1).shuffled()
    assert (other.patients != shuffled.patients).any()


def test_shuffling_leaves_the_world_as_it_was(world: World) -> None:
    before = world.patients.copy()
    world.shuffled()
    assert (world.patients == before).all()
    assert (world.patients == world.cohort.patients).all()


def test_shuffled_identities_are_drawn_alike_before_and_after_the_sites_have_released(consortium: Consortium) -> None:
    """An adversary prepares before: what it learnt must be of the world that it is asked about."""
    early = consortium.experiment.world().shuffled()
    np.testing.assert_array_equal(early.patients, consortium.world.shuffled().patients)


def test_in_a_shuffled_leak_identities_alone_differ(consortium: Consortium) -> None:
    earnest, shuffled = consortium.leak(), consortium.leak(world="control_shuffled")
    films_each = [sorted(np.bincount(leak.own.people)) for leak in (earnest, shuffled)]
    assert films_each[0] == films_each[1]
    assert (shuffled.own.people != earnest.own.people).mean() > 0.8
    for name in ("films", "sources", "held_out"):
        np.testing.assert_array_equal(getattr(shuffled.own, name), getattr(earnest.own, name))
    np.testing.assert_array_equal(shuffled.view.forms["films"], earnest.view.forms["films"])
    np.testing.assert_array_equal(shuffled.known, earnest.known)
    assert shuffled.mechanism == earnest.mechanism
    np.testing.assert_array_equal(consortium.leak(world="control_raw").own.people, earnest.own.people)


@pytest.mark.parametrize("method", ["noise", "sca"])
def test_unprotected_are_the_films_themselves(method: str, make_consortium: MakeConsortium) -> None:
    world = make_consortium(FILMS_OF[:10], method=method).world
    raw = world.unprotected()
    assert raw.method == Unprotected()
    np.testing.assert_array_equal(raw.view().forms["films"], world.cohort.films(world.released.films))
    assert raw.view().opened.all()
    assert (raw.patients == world.patients).all()
    protected = world.view().forms.get("films", np.zeros((0, *world.cohort.size), dtype=np.uint8))
    assert not bytes_of(protected) & bytes_of(world.cohort.films())  # the control: in earnest they are not


def test_rows_of_nobody_are_attacked_in_no_world_and_gone_where_nothing_is_protected(world: World) -> None:
    """A synthetic film is made of nobody's: there is no film to put in its place."""
    traces = world.released
    films = traces.films.copy()
    films[::3] = -1
    some = replace(world, traces=replace(traces, films=films))
    everybody = np.ones(len(world.cohort), dtype=bool)
    np.testing.assert_array_equal(some.rows_of(everybody), films >= 0)
    only = np.zeros(len(world.cohort), dtype=bool)
    only[-1] = True  # -1 must not be read as the last film
    assert some.rows_of(only).sum() == (films == len(world.cohort) - 1).sum()
    raw = some.unprotected().released
    np.testing.assert_array_equal(raw.films, films[films >= 0])
    assert raw.sites.tolist() == traces.sites[films >= 0].tolist()


def test_nothing_can_be_asked_of_releases_before_there_are_any(consortium: Consortium) -> None:
    early = consortium.experiment.world()
    assert early.unprotected().traces is None
    with pytest.raises(AssertionError, match="nothing has been released yet"):
        _ = early.released
