"""What is written down of the adversary's own films: which, in which order, and what is unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from consortium import Consortium

from fedcxr.cohort import FINDINGS
from fedcxr.knowledge.own_films import OwnFilms
from fedcxr.knowledge.own_records import UNKNOWN, OwnRecords, Records, records_in
from fedcxr.world import Roles


def test_by_hand(tiny: Consortium, roles: Roles) -> None:
    """Films of three people: 40, 41 and 42 years old; unknown is what a table leaves out."""
    index = tiny.world.cohort.index.copy()
    index["age"] = index["age"].astype(float)
    index.loc[0, "age"], index.loc[1, "sex"], index.loc[2, "Mass"] = np.nan, "U", np.nan
    world = replace(tiny.world, cohort=replace(tiny.world.cohort, index=index))
    holding = OwnRecords().held(world, roles)
    assert holding is not None
    told = records_in(holding)
    assert told.sex.tolist() == [1, UNKNOWN, 0, 1, 1]
    assert told.age.tolist() == [UNKNOWN, 40, 41, 42, 42]
    assert told.source.tolist() == OwnFilms().held(world, roles).arrays["sources"].tolist() == [0, 0, 1, 2, 2]
    assert told.findings[2, FINDINGS.index("Mass")] == UNKNOWN
    names = [column.name for column in told.columns]
    targets = dict(zip(names, told.targets.T.tolist(), strict=True))
    assert str(targets["male"]) == "[1.0, nan, 0.0, 1.0, 1.0]"
    assert str(targets["40 to 59"]) == "[nan, 1.0, 1.0, 1.0, 1.0]"
    assert targets["source 3"] == [0, 0, 0, 1, 1]
    assert names[-len(FINDINGS) :] == list(FINDINGS)


def test_scanners_are_numbered_as_the_adversary_numbers_them(tiny: Consortium) -> None:
    cohort = tiny.world.cohort
    own = cohort.take(np.array([2, 3]))  # sources 1 and 2
    assert Records.of(cohort, own).source.tolist() == [1 if s == "source-2" else 0 if s == "source-1" else UNKNOWN
                                                       for s in cohort.index["source"]]  # fmt: skip
