"""Clean films of people who are not attacked: which, and numbers in place of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from consortium import Consortium

from fedcxr.knowledge.own_films import Owned, OwnFilms
from fedcxr.world import Roles


def test_by_hand(tiny: Consortium, roles: Roles) -> None:
    held = OwnFilms().held(tiny.world, roles)
    np.testing.assert_array_equal(held.arrays["films"], tiny.experiment.cohort.films(np.arange(5)))
    assert held.arrays["people"].tolist() == [0, 0, 1, 2, 2]
    assert held.arrays["sources"].tolist() == [0, 0, 1, 2, 2]
    assert held.arrays["held_out"].tolist() == [False, False, False, True, True]
    assert held.facts == {}


def test_whose_they_are_is_as_the_world_has_it(tiny: Consortium, roles: Roles) -> None:
    """In a world in which identities mean nothing, what is learnt from means nothing either."""
    named = replace(tiny.world, patients=np.array([*"abcab", *"dddd"], dtype=object))
    held = OwnFilms().held(named, roles)
    assert held.arrays["people"].tolist() == [0, 1, 2, 0, 1]
    assert held.arrays["held_out"].tolist() == [False, False, False, True, True]


def test_they_are_of_people_who_are_not_attacked(make_consortium: Callable[..., Consortium]) -> None:
    consortium = make_consortium(method="noise")
    mine: Owned = consortium.leak().own
    cohort, index = consortium.experiment.cohort, consortium.experiment.cohort.index
    owner = {film.tobytes(): p for film, p in zip(cohort.films(), cohort.patients, strict=True)}
    patients = [owner[film.tobytes()] for film in mine.films]
    assert not set(patients) & set(index["patient"][index["split"] == "test"])
    assert len(mine.films) == int((index["split"] != "test").sum())
    # The numbers tell people apart as the names do, and tell nothing else.
    assert len(set(zip(patients, mine.people.tolist(), strict=True))) == len(set(patients)) == len(set(mine.people))
    split = dict(zip(index["patient"], index["split"], strict=True))
    assert [split[p] == "val" for p in patients] == mine.held_out.tolist()
    source = dict(zip(index["patient"], index["source"], strict=True))
    assert len({(source[p], s) for p, s in zip(patients, mine.sources.tolist(), strict=True)}) == 3


@pytest.mark.parametrize("world", ["protected", "control_raw", "control_shuffled"])
def test_what_is_learnt_from_before_is_what_is_held_after(
    world: str, make_consortium: Callable[..., Consortium]
) -> None:
    """An adversary prepares on its own films while the sites are at work: nothing it holds then may change."""
    consortium = make_consortium()
    before = consortium.threat.owned("linkage", consortium.threat.settings("linkage")[world].world)
    after = consortium.leak(world=world).holdings
    assert list(before) == ["own_films"]
    for name, array in before["own_films"].arrays.items():
        np.testing.assert_array_equal(array, after["own_films"].arrays[name])
