"""`own` opens nothing, wherever it is named: the films are where their hospital is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import SMALL

from fedcxr.data.own import Own
from fedcxr.errors import Refused
from fedcxr.scenario import Scenario
from server.simulate import Options, simulate

BARE: dict[str, Any] = {key: value for key, value in SMALL.items() if key != "cohort"}


@pytest.mark.parametrize("engine", ["inline", "ray"])
@pytest.mark.parametrize("sources", [{"sites": {"charite": "own", "ukb": "phantom"}}, {"cohort": "own"}], ids=str)
def test_a_simulation_has_no_films_of_a_hospital(sources: dict[str, Any], engine: Any, tmp_path: Path) -> None:
    """One line at once, and not a run that ends when the first site is asked."""
    with pytest.raises(Refused, match=r"opened there and nowhere else; given: own.*phantom"):
        simulate(Scenario.parse({**BARE, **sources}), Options(tmp_path / "runs", engine))
    assert not (tmp_path / "runs").exists()


def test_nothing_is_opened(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        Own().open(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not Own.model_fields  # a scenario has nothing to say of a hospital's films


def test_what_a_task_needs_of_them_the_hospital_knows() -> None:
    document: dict[str, Any] = {**BARE, "sites": {"charite": "own"}, "tasks": {"lung_masks:LungMasks": {}}}
    scenario = Scenario.parse(document)
    assert Scenario.from_yaml(scenario.to_yaml()) == scenario
