"""Films of the adversary's own with what is public of their codes, and never one of anybody who is attacked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from consortium import FILMS_OF, Consortium

from fedcxr.knowledge.pairs import KnownPairs
from fedcxr.methods.sca import Sca

MakeConsortium = Callable[..., Consortium]


def paired(make: MakeConsortium, most: int, **method: object) -> Consortium:
    document = {"method": {"name": "sca", **method}, "knowledge": {"pairs": most}, "adversaries": {"support": {}}}
    return make(FILMS_OF[:20], **document)


@pytest.mark.parametrize("ambiguation", ["keyed", "matched", "published"])
def test_each_code_is_of_the_film_beside_it(ambiguation: str, make_consortium: MakeConsortium) -> None:
    consortium = paired(make_consortium, 7, ambiguation=ambiguation)
    leak = consortium.leak("same_film")
    pairs = leak.holdings["pairs"].arrays
    films = np.asarray(pairs["films"])
    assert pairs["codes"].dtype == np.int8
    assert len(films) == len(set(films)) == len(pairs["codes"]) == len(pairs["versions"]) == 7
    codes = Sca().codec({}, consortium.world.context).encode(leak.own.films[films])
    for public, code in zip(pairs["codes"], codes, strict=True):
        if ambiguation == "keyed":  # values lie anywhere and with any sign: as many of each size as the film needs
            shown, needed = (np.bincount(np.abs(c.ravel().astype(int)), minlength=128)[1:] for c in (public, code))
            assert (shown >= needed).all()
        else:
            np.testing.assert_array_equal(np.where(code != 0, public, 0), code)


def test_they_are_of_nobody_who_is_attacked_and_were_released(make_consortium: MakeConsortium) -> None:
    consortium = paired(make_consortium, 7)
    put = consortium.put["same_film"]["protected"]
    index, cohort = consortium.experiment.cohort.index, consortium.experiment.cohort
    rows = KnownPairs(most=7).chosen(consortium.world, put.roles)
    behind = consortium.world.released.films[rows]
    tested = set(index["patient"][index["split"] == "test"])
    assert not tested & set(cohort.patients[behind])
    owned = cohort.take(index["split"].to_numpy() != "test")
    assert [*owned.patients[put.leak.holdings["pairs"].arrays["films"]]] == [*cohort.patients[behind]]
    public = np.concatenate([release.arrays["codes"] for release in consortium.shared.releases])
    np.testing.assert_array_equal(put.leak.holdings["pairs"].arrays["codes"], public[rows])


def test_no_more_than_there_are(make_consortium: MakeConsortium) -> None:
    consortium = paired(make_consortium, 10_000)
    owned = int((consortium.experiment.cohort.index["split"] != "test").sum())
    films = consortium.leak("same_film").holdings["pairs"].arrays["films"]
    assert sorted(films.tolist()) == list(range(owned))


def test_which_of_several_codecs_made_each_is_told(make_consortium: MakeConsortium) -> None:
    consortium = paired(make_consortium, 12, fit="local", steps=1, refinement=4, crop=16)
    rows = KnownPairs(most=12).chosen(consortium.world, consortium.put["same_film"]["protected"].roles)
    versions = consortium.leak("same_film").holdings["pairs"].arrays["versions"]
    sites = [consortium.scenario.site_names.index(site) for site in consortium.world.released.sites[rows]]
    assert versions.tolist() == sites
    assert len(set(sites)) > 1


def test_there_are_none_unless_they_are_granted(make_consortium: MakeConsortium) -> None:
    assert paired(make_consortium, 0).put["same_film"] == {}


def test_linkage_is_asked_without_them(make_consortium: MakeConsortium) -> None:
    assert "pairs" not in paired(make_consortium, 7).leak("linkage").holdings
