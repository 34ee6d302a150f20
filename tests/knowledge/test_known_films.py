"""Real films of the very people who are attacked: some of each, never all, and never one whose release is attacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from consortium import FILMS_OF, Consortium

from fedcxr.errors import DataError
from fedcxr.knowledge.known_films import KnownFilms
from fedcxr.world import Roles

MakeConsortium = Callable[..., Consortium]


def known_rows(consortium: Consortium) -> np.ndarray:
    return np.flatnonzero(consortium.put["linkage"]["protected"].roles.known)


@pytest.mark.parametrize(("share", "known"), [(0.1, 1), (0.4, 1), (0.6, 2), (0.99, 2)])
def test_by_hand(tiny: Consortium, roles: Roles, share: float, known: int) -> None:
    """Of a patient's three films some and not all; of the patient with one, none."""
    assigned = KnownFilms(share=share).assign(tiny.world, roles)
    assert assigned.known[5:8].sum() == assigned.known.sum() == known
    np.testing.assert_array_equal(assigned.attacked, roles.attacked & ~assigned.known)
    np.testing.assert_array_equal(assigned.owned, roles.owned)
    films = KnownFilms(share=share).held(tiny.world, assigned).arrays["films"]
    np.testing.assert_array_equal(films, tiny.experiment.cohort.films(np.flatnonzero(assigned.known)))


@pytest.mark.parametrize(("most", "known"), [(1, 1), (2, 2), (5, 2)])
def test_no_more_of_each_than_are_granted(most: int, known: int, tiny: Consortium, roles: Roles) -> None:
    """Of the two that are set aside; the same film is attacked, however many of these are known."""
    all_of_them = KnownFilms(share=0.6).assign(tiny.world, roles)
    assigned = KnownFilms(share=0.6, most=most).assign(tiny.world, roles)
    assert assigned.known.sum() == known
    assert not (assigned.known & ~all_of_them.known).any()
    np.testing.assert_array_equal(assigned.attacked, all_of_them.attacked)


def test_which_are_of_one_person_is_told_as_the_world_has_it(make_consortium: MakeConsortium) -> None:
    consortium = make_consortium()
    for world, one in consortium.put["linkage"].items():
        known = np.flatnonzero(one.roles.known)
        numbers = one.leak.holdings["known_films"].arrays["people"]
        assert numbers.dtype == np.int64
        patients = one.setting.world.patients[known]
        assert len(set(zip(patients, numbers.tolist(), strict=True))) == len(set(patients)) == len(set(numbers)), world


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_they_are_some_of_each_attacked_patients_and_never_all(share: float, make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(knowledge={"known_films": share})
    known = known_rows(consortium)
    index = consortium.experiment.cohort.index
    assert set(index["split"].iloc[known]) == {"test"}
    films = index[index["split"] == "test"].groupby("patient").size()
    owned = index.iloc[known].groupby("patient").size().reindex(films.index, fill_value=0)
    for patient, n in zip(films.index.astype(str), films, strict=True):
        assert owned.loc[patient] == (0 if n == 1 else min(max(round(share * n), 1), n - 1))
    assert (owned == 0).any()  # somebody with a single film: attacked, but in nobody's album


def test_which_they_are_does_not_depend_on_other_patients(make_consortium: MakeConsortium) -> None:
    many, few = (make_consortium((3,) * people) for people in (40, 20))
    known = set(many.experiment.cohort.index["image"].iloc[known_rows(many)])
    assert len(known_rows(few))
    assert set(few.experiment.cohort.index["image"].iloc[known_rows(few)]) <= known


def test_nor_on_what_a_control_makes_of_identities(tiny: Consortium, roles: Roles) -> None:
    lone = replace(tiny.world, patients=np.array([f"nobody {row}" for row in range(9)], dtype=object))
    real = KnownFilms().assign(tiny.world, roles)
    np.testing.assert_array_equal(KnownFilms().assign(lone, roles).known, real.known)


@pytest.mark.parametrize("question", ["linkage", "reconstruction"])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_no_known_film_is_attacked_in_any_world(question: str, share: float, make_consortium: MakeConsortium) -> None:
    asked = {"adversaries": {"support": {}}, "method": "sca", "knowledge": {"known_films": share}}
    consortium = make_consortium(FILMS_OF[:10], **asked)
    tested = set(np.flatnonzero(consortium.experiment.cohort.index["split"] == "test"))
    assert consortium.put[question]
    for one in consortium.put[question].values():
        known, attacked = (set(np.flatnonzero(part)) for part in (one.roles.known, one.roles.attacked))
        assert known
        assert attacked == tested - known
        assert attacked


def test_nobody_has_two_films(make_consortium: MakeConsortium) -> None:
    with pytest.raises(DataError, match="nobody can be re-identified"):
        _ = make_consortium((1,) * 20).put
