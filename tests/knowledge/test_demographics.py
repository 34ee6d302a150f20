"""Sex and age of whoever is on released, known and own films: those of the very film in that row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from consortium import Consortium

from fedcxr.knowledge.demographics import Demographics
from fedcxr.world import Roles

MakeConsortium = Callable[..., Consortium]


def test_they_are_of_the_films_in_their_order(make_consortium: MakeConsortium) -> None:
    consortium = make_consortium(knowledge={"demographics": True}, method="noise")
    index = consortium.experiment.cohort.index
    for world, one in consortium.put["linkage"].items():
        told = one.leak.holdings["demographics"].arrays
        released = one.setting.world.released.films[one.setting.world.rows_of(one.roles.attacked)]
        rows = {"released": released, "known": np.flatnonzero(one.roles.known), "own": np.flatnonzero(one.roles.owned)}
        assert told.keys() == {f"{part} {name}" for part in rows for name in ("sex", "age")}
        for part, films in rows.items():
            assert told[f"{part} age"].tolist() == index["age"].to_numpy()[films].tolist(), world
            assert told[f"{part} sex"].tolist() == (index["sex"].to_numpy()[films] == "F").tolist(), world


def test_what_is_unknown_is_nan(tiny: Consortium, roles: Roles) -> None:
    cohort = tiny.world.cohort
    row = np.arange(len(cohort))
    sex = cohort.index["sex"].where(row != 2, "U")
    index = cohort.index.assign(sex=sex, age=cohort.index["age"].where(row != 3))
    held = Demographics(known=True).held(replace(tiny.world, cohort=replace(cohort, index=index)), roles)
    assert held is not None
    assert np.isnan(held.arrays["own sex"]).tolist() == [False, False, True, False, False]
    assert np.isnan(held.arrays["own age"]).tolist() == [False, False, False, True, False]
