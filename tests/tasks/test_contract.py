"""What every task promises, checked for each file in the folder: a new one is tested by being there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import canary
import numpy as np
import pytest
from parameters import wrong_parameters
from worlds import (
    CANARY,
    METHODS,
    another_global_state,
    check_ranges,
    contributed,
    locked,
    locked_view,
    plain,
    small,
    tiny,
)

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.errors import ConfigError
from fedcxr.release import NOBODY, Release
from fedcxr.runs.measured import figure_at
from fedcxr.storage.artefacts import Artefacts
from fedcxr.table import Table
from fedcxr.tasks import Bench, Evidence, Material, Task
from fedcxr.training.compute import Compute
from fedcxr.view import Shared

CPU = Compute.choose("cpu", "fp32")
BENCH = Bench(1, CPU)

pytestmark = [
    pytest.mark.parametrize("name", contributed("task", "lung_masks:LungMasks")),
    pytest.mark.filterwarnings("ignore:The given NumPy array is not writable"),  # so it is, and torch copies it
]

Given = Callable[[str], Evidence]


def task_of(name: str) -> Task:
    return small(cast(Task, plugins.build("task", name)))


def form_of(name: str) -> str:
    return next(form for form in METHODS if form in task_of(name).forms)


@pytest.fixture(scope="module")
def given(people: Cohort) -> Given:
    """What is shared in the form that a task reads, read-only."""

    def shared(form: str) -> Evidence:
        made = tiny(people, form)
        return read_only(made.experiment.evidence(made.shared))

    made = cache(shared)
    return lambda name: made(form_of(name))


def read_only(evidence: Evidence) -> Evidence:
    return replace(
        evidence,
        view=locked_view(evidence.view),
        labels=locked(evidence.labels),
        split=locked(evidence.split),
        origin=locked(evidence.origin),
        versions=locked(evidence.versions),
    )


@pytest.fixture(scope="module")
def measured(given: Given) -> Callable[[str], dict[str, Any]]:
    """Every task's figures, once."""
    return cache(lambda name: task_of(name).measure(given(name), BENCH))


# Figures --------------------------------------------------------------------------------------------------------------


def test_there_is_something_to_measure(name: str, given: Given) -> None:
    assert task_of(name).applies(given(name))


def test_figures_are_plain_and_in_their_ranges(name: str, measured: Callable[[str], dict[str, Any]]) -> None:
    figures = measured(name)
    assert figures
    plain(figures)
    check_ranges(figures)


def test_figures_name_nobody(name: str, measured: Callable[[str], dict[str, Any]]) -> None:
    assert not canary.leaks([CANARY], plain(measured(name)))


def test_same_seed_same_figures_whatever_the_global_generators_are(
    name: str, given: Given, measured: Callable[[str], dict[str, Any]]
) -> None:
    index = given(name).cohort.index.copy()
    again = cast(Task, plugins.build("task", task_of(name).spec()))
    with another_global_state(9) as untouched:
        assert plain(again.measure(given(name), BENCH)) == plain(measured(name))
        assert untouched()
    assert given(name).cohort.index.equals(index)


def test_figures_do_not_depend_on_what_patients_are_called(
    name: str, given: Given, measured: Callable[[str], dict[str, Any]]
) -> None:
    evidence = given(name)
    names = {patient: f"{7 * i + 1:03d}-Somebody" for i, patient in enumerate(sorted(set(evidence.cohort.patients)))}
    index = evidence.cohort.index.assign(patient=[names[patient] for patient in evidence.cohort.patients])
    renamed = replace(evidence, cohort=replace(evidence.cohort, index=index))
    assert plain(task_of(name).measure(renamed, BENCH)) == plain(measured(name))


def test_its_main_figure_is_one_that_it_measures_and_to_which_bounds_are_set(
    name: str, measured: Callable[[str], dict[str, Any]]
) -> None:
    main = task_of(name).main
    if main is None:
        return
    assert main.path in task_of(name).bounds
    found = figure_at({"utility": {name: measured(name)}}, name, main.path)
    assert found is not None
    assert found["value"] is None or found["value"] <= 1.0


def test_its_table_is_text(name: str, measured: Callable[[str], dict[str, Any]]) -> None:
    told = task_of(name).table(measured(name))
    if told is None:
        return
    assert isinstance(told, Table)
    assert told.rows
    for row in told.rows:
        assert len(row.cells) <= len(told.heads)
        assert all(isinstance(cell, str) for cell in (row.about, row.doubt, *row.cells))
        assert "nan" not in " ".join(row.cells)


# What does not apply --------------------------------------------------------------------------------------------------


def test_who_sees_nothing_measures_nothing(name: str, given: Given) -> None:
    view = given(name).view
    closed = replace(view, opened=np.zeros_like(view.opened), model=None)
    assert not task_of(name).applies(replace(given(name), view=closed))


def test_films_of_nobody_are_measured_or_do_not_apply(name: str, given: Given, people: Cohort) -> None:
    """More of them than there are films, and none of the test split."""
    if form_of(name) != "films":
        pytest.skip(f"{name} reads no films")
    made = tiny(people, "films")
    releases = [of_nobody(release) for release in made.shared.releases]
    evidence = read_only(made.experiment.evidence(Shared(releases)))
    assert len(evidence.view) > len(people)
    task = task_of(name)
    if task.applies(evidence):
        figures = task.measure(evidence, BENCH)
        plain(figures)
        check_ranges(figures)


def of_nobody(release: Release) -> Release:
    twice = {key: np.concatenate([array, array]) for key, array in release.arrays.items()}
    twice["split"] = np.zeros_like(twice["split"])
    facts = {key: fact for key, fact in release.facts.items() if key not in ("left_out", "complaints")}
    return replace(release, arrays=twice, facts={**facts, "origins": NOBODY})


# Done ahead, and elsewhere --------------------------------------------------------------------------------------------


def test_work_done_ahead_changes_no_figure(
    name: str, given: Given, measured: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    bench = replace(BENCH, artefacts=Artefacts.below(tmp_path))
    for _ in range(2):  # made, and found
        task_of(name).foresee(given(name).cohort, bench)
        assert plain(task_of(name).measure(given(name), bench)) == plain(measured(name))


def test_what_sites_tell_of_their_tests_is_the_same_again_and_no_film(name: str, given: Given) -> None:
    """Where a task can be tested where the films are: numbers go there, and figures come back."""
    evidence, task = given(name), task_of(name)
    fields = {field: getattr(evidence, field) for field in Material.__dataclass_fields__}
    taught = task.teach(Material(**fields), BENCH)
    if taught is None:
        pytest.skip(f"{name} is measured at the coordinator alone")
    test = evidence.cohort.take(evidence.films("test"))
    places = np.arange(len(test)) % 2
    told = []
    for seed in (1, 2):
        with another_global_state(seed) as untouched:
            told.append(
                {f"site-{s}": task.tested(taught, test.take(places == s), evidence.method, BENCH) for s in (0, 1)}
            )
            assert untouched()
    for site, own in told[0].items():
        for part, array in own.items():
            np.testing.assert_array_equal(array, told[1][site][part])
            assert array.dtype.kind in "biuf"
            assert array.shape[-2:] != test.size
    figures = [plain(task.figures(one, taught, BENCH)) for one in told]
    assert figures[0] == figures[1]
    assert task.figures(told[0], taught, BENCH).keys() <= task.measure(evidence, BENCH).keys()


def test_it_reads_and_needs_what_there_is(name: str) -> None:
    task = task_of(name)
    assert task.forms
    assert set(task.forms) <= set(METHODS)
    assert set(task.annotations) <= {"lungs", "heart", "boxes"}
    assert isinstance(task.required_files(), tuple)


# Parameters -----------------------------------------------------------------------------------------------------------


def test_parameters_can_be_written_down_and_read_again(name: str) -> None:
    for task in (plugins.build("task", name), task_of(name)):
        assert plugins.build("task", task.spec()) == task


def test_wrong_parameters_are_one_line(name: str) -> None:
    for parameters in wrong_parameters("task", name):
        with pytest.raises(ConfigError) as caught:
            plugins.build("task", {"name": name, **parameters})
        said = str(caught.value)
        assert "\n" not in said
        assert next(iter(parameters)) in said
        assert f"task {name}" in said
        assert caught.value.exit_code == 2


def test_every_number_has_limits(name: str) -> None:
    for field, told in plugins.load("task", name).model_json_schema().get("properties", {}).items():
        if told.get("type") in ("number", "integer") and "enum" not in told:
            assert {"minimum", "exclusiveMinimum"} & told.keys(), f"{field} has no lower limit"


def test_says_what_it_measures(name: str) -> None:
    assert (plugins.load("task", name).__doc__ or "").strip()
