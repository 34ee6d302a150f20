"""The findings task on films whose finding is a bright square."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from evidences import showing
from evidences import squares as evidence

from fedcxr.cohort import SPLITS, Cohort
from fedcxr.errors import DataError, UnknownName
from fedcxr.label_noise import LabelNoise, Rates
from fedcxr.methods import Films, Form, Judged, RunContext, Weights
from fedcxr.methods.none import Unprotected
from fedcxr.rng import stream
from fedcxr.tasks import Bench, Evidence
from fedcxr.tasks._findings import ARMS, Labelled
from fedcxr.tasks.findings import Findings
from fedcxr.training import arrays_of
from fedcxr.training.compute import Compute
from fedcxr.view import View

FP32 = Compute.choose("cpu", "fp32")
TASK = Findings(width=4, steps=60, batch=32, learning_rate=1e-2, bootstraps=20, shift=1)


def labelled() -> Labelled:
    given = evidence()
    return Labelled(given.clean, given.labels, given.patients, given.findings)


def with_others() -> Findings:
    return TASK.model_copy(update={"comorbidity": True})


def measure(given: Evidence, task: Findings = TASK, seed: int = 1) -> tuple[dict[str, Any], set[str]]:
    stages: set[str] = set()
    figures = task.measure(given, Bench(seed, FP32, lambda stage, step, steps: stages.add(stage)))
    return figures, stages


def test_the_four_figures_have_the_promised_form() -> None:
    figures, stages = measure(evidence())
    assert list(figures) == ["trained", "trained_released", "frozen", "raw", "unauthorised", "subgroups"]
    assert set(figures.pop("subgroups")) == {"trained", "raw"}
    assert figures.pop("unauthorised") is None  # nothing is kept from anyone
    for arm in figures.values():
        assert set(arm) == {"mean_auc", "per_finding", "skipped"}
        assert set(arm["mean_auc"]) == {"value", "ci95"}
        low, high = arm["mean_auc"]["ci95"]
        assert low <= arm["mean_auc"]["value"] <= high
        assert list(arm["per_finding"]) == ["Upper", "Lower", "Rare"]
        assert set(arm["per_finding"]["Upper"]) == {"value", "ci95", "positives"}
        assert arm["per_finding"]["Rare"] is None
        assert arm["skipped"] == ["Rare"]
        assert arm["mean_auc"]["value"] > 0.95
    given = evidence()
    assert figures["raw"]["per_finding"]["Upper"]["positives"] == (given.labels[given.split == 2, 0] == 1).sum()
    json.dumps(figures, allow_nan=False)
    assert stages == {"findings clean"}  # the same bytes are not trained on twice


def test_each_arm_is_trained_and_tested_on_the_films_it_names() -> None:
    given = evidence()
    # Released films hold the findings upside down: a classifier learns from them, but not to read clean ones.
    figures, stages = measure(showing(given, {"films": 255 - given.clean}))
    value = {name: figures[name]["mean_auc"]["value"] for name in ARMS if figures[name]}
    assert stages == {"findings released", "findings clean"}
    assert value["raw"] > 0.95
    assert value["trained_released"] > 0.95
    assert value["frozen"] < 0.7
    assert value["trained"] < 0.7


def test_films_of_another_exposure_are_read_as_if_they_had_the_first() -> None:
    """The same films, released at half the contrast and brighter."""
    given = evidence()
    faint = (100 + 0.4 * given.clean).astype(np.uint8)
    task = TASK.model_copy(update={"normalise": "histogram"})
    figures, _ = measure(showing(given, {"films": faint}), task)
    assert figures["frozen"]["mean_auc"]["value"] > 0.95


@pytest.mark.parametrize("on", ["codes", "purified"])
def test_codes_are_no_films_to_be_made_alike(on: Any) -> None:
    with pytest.raises(ValueError, match="normalise: bands is for films"):
        Findings(on=on, normalise="bands")


def test_another_way_to_make_films_alike_is_another_classifier() -> None:
    arrays = [arrays_of(task.train(labelled(), Bench(1, FP32), "x")) for task in (TASK, with_others())]
    assert set(arrays[1]) - set(arrays[0]) == {"comorbid.weight"}


def test_no_film_is_seen_more_often_than_it_may_be() -> None:
    films, planned = labelled(), list[int]()
    twice = 2 * len(films.labels) // TASK.batch
    assert 0 < twice < TASK.steps
    for most in (None, 1000, 2):
        task = TASK.model_copy(update={"most_epochs": most})
        task.train(films, Bench(1, FP32, lambda stage, step, steps: planned.append(steps)), "x")
        assert {planned.pop() for _ in range(len(planned))} == {twice if most == 2 else TASK.steps}


def test_a_release_that_holds_nothing_teaches_nothing() -> None:
    given = evidence()
    noise = stream(5).integers(0, 256, size=given.clean.shape, dtype=np.uint8)
    figures, _ = measure(showing(given, {"films": noise}))
    assert figures["raw"]["mean_auc"]["value"] > 0.95
    assert figures["frozen"]["mean_auc"]["value"] < 0.7
    assert figures["trained_released"]["mean_auc"]["value"] < 0.7


def test_what_is_closed_is_neither_learnt_from_nor_tested() -> None:
    given = evidence()
    opened = np.arange(len(given.split)) % 4 < 2
    # Were closed films used, their labels would mislead.
    wrong = ~opened & (given.split != SPLITS.index("test"))
    misled = replace(given, labels=np.where(wrong[:, None], 1 - given.labels, given.labels))
    half = showing(misled, {"films": given.clean}, opened)
    figures, stages = measure(half)
    assert figures["trained"]["mean_auc"]["value"] > 0.95
    assert figures["trained_released"]["mean_auc"]["value"] > 0.95
    positives = {arm: figures[arm]["per_finding"]["Upper"]["positives"] for arm in ("trained", "trained_released")}
    tested = given.split == SPLITS.index("test")
    assert positives == {
        "trained": (given.labels[tested, 0] == 1).sum(),
        "trained_released": (given.labels[tested & opened, 0] == 1).sum(),
    }
    assert stages == {"findings released", "findings clean"}
    closed = showing(given, {}, np.zeros_like(opened))
    assert not TASK.applies(closed)
    assert TASK.model_copy(update={"on": "codes"}).applies(closed)


@pytest.mark.parametrize(("telling", "least", "most"), [(True, 0.95, 1.0), (False, 0.5, 0.5)])
def test_what_shows_without_a_key_is_learnt_from_by_itself(telling: bool, least: float, most: float) -> None:
    given = evidence()
    shown = 255 - given.clean if telling else np.full_like(given.clean, 7)
    figures, stages = measure(replace(given, unauthorised=shown))
    assert least <= figures["unauthorised"]["mean_auc"]["value"] <= most
    assert ("findings without a key" in stages) == telling
    assert figures["trained"] == measure(given)[0]["trained"]


@pytest.mark.parametrize("on", ["purified", "codes"])
def test_findings_are_learnt_from_codes(on: str) -> None:
    """Two channels of which each holds one finding, at a place of its own."""
    given, rng = evidence(), stream(2, "toy codes")
    codes = rng.integers(-9, 10, (len(given.split), 64, 4, 4)).astype(np.int8)
    codes[:, 1, 1, 1] += (60 * np.nan_to_num(given.labels[:, 0])).astype(np.int8)
    codes[:, 3, 2, 2] += (60 * np.nan_to_num(given.labels[:, 1])).astype(np.int8)
    code_of = {film.tobytes(): code for film, code in zip(given.clean, codes, strict=True)}

    class Coded(Unprotected):
        """A hospital has its own films in these codes, but never as they were published."""

        def clean(self, form: Form, films: Films, weights: Weights, context: RunContext) -> np.ndarray | None:
            return np.stack([code_of[film.tobytes()] for film in films]) if form == "purified" else None

    coded = replace(showing(given, {on: codes}), method=Coded())
    figures, _ = measure(coded, TASK.model_copy(update={"on": on}))
    assert figures["trained_released"]["mean_auc"]["value"] > 0.95
    assert figures["raw"]["mean_auc"]["value"] > 0.95
    assert figures["frozen"] is None
    assert figures["trained"] == (figures["trained_released"] if on == "purified" else None)


def test_the_same_seed_measures_the_same() -> None:
    task = TASK.model_copy(update={"steps": 8})
    assert measure(evidence(), task)[0] == measure(evidence(), task)[0]
    assert measure(evidence(), task, seed=2)[0] != measure(evidence(), task)[0]


def test_films_are_not_changed() -> None:
    given = evidence()
    released = np.asarray(given.view.forms["films"])
    before = released.copy()
    released.flags.writeable = given.clean.flags.writeable = False
    measure(given, TASK.model_copy(update={"steps": 2}))
    assert np.array_equal(released, before)


def test_wrong_labels_are_allowed_for_and_what_could_not_be_found_out_is_named() -> None:
    told = LabelNoise(findings={"Upper": Rates(sensitivity=0.7, specificity=0.9)})
    estimated = told.model_copy(update={"estimated": True})
    films, bench = Labelled.of(evidence().cohort), Bench(1, FP32, lambda *progress: None)
    plain, corrected = (
        arrays_of(task.train(films, bench, "clean")) for task in (TASK, TASK.model_copy(update={"label_noise": told}))
    )
    assert any((plain[name] != corrected[name]).any() for name in plain)
    task = TASK.model_copy(update={"label_noise": estimated})
    figures, stages = measure(evidence(), task)
    assert stages == {"findings clean", "findings labels 1 of 2", "findings labels 2 of 2"}
    found = figures["label_noise"]
    assert found["rates"]["Upper"] == {"sensitivity": 0.7, "specificity": 0.9}  # what is given outranks it
    assert found["rates"]["Lower"]["sensitivity"] > 0.9
    assert found["uncorrected"] == {"Rare": "no film is labelled with it"}
    assert "labels taken for right: Rare, since no film is labelled with it" in task.table(figures).notes


def test_whose_labels_are_wrong_is_learnt_and_told_by_site() -> None:
    given = evidence()
    sites = np.array(["one", "other"], dtype=object)[np.arange(len(given.labels)) // 2 % 2]  # patients in turn
    missed = given.labels.copy()
    rows = (sites == "other") & (stream(3, "missed").random(len(sites)) < 0.6)
    missed[rows, 0] = np.minimum(missed[rows, 0], 0)
    task = TASK.model_copy(update={"label_noise": LabelNoise(learnt=True), "steps": 120})
    figures, _ = measure(replace(given, labels=missed, sites=sites, released_by=sites), task)
    found = figures["label_noise"]["sites"]
    assert list(found) == ["one", "other"]
    assert found["other"]["Upper"]["sensitivity"] < found["one"]["Upper"]["sensitivity"] - 0.1
    assert found["other"]["Rare"] == {"sensitivity": 1, "specificity": 1}  # nobody has a film with it
    assert any(note.startswith("labels believed least: other, sensitivity 0.") for note in task.table(figures).notes)
    told = LabelNoise(sites={"other": Rates(sensitivity=0.4, specificity=0.95)})
    figures, _ = measure(
        replace(given, labels=missed, sites=sites, released_by=sites), TASK.model_copy(update={"label_noise": told})
    )
    assert figures["label_noise"]["sites"]["other"]["Upper"]["sensitivity"] == pytest.approx(0.4)
    assert figures["label_noise"]["sites"]["one"]["Upper"] == {"sensitivity": 1, "specificity": 1}


def test_rates_of_a_finding_that_these_films_do_not_have_are_refused() -> None:
    told = LabelNoise(findings={"Uper": Rates(sensitivity=0.7, specificity=0.9)})
    with pytest.raises(UnknownName, match="did you mean 'Upper'"):
        TASK.model_copy(update={"label_noise": told}).demand(evidence().cohort)


def test_a_cohort_without_test_films_is_an_error() -> None:
    with pytest.raises(DataError, match="films to test on"):
        measure(evidence(split=[0] * 240))


def test_rows_of_nobody_teach_as_others_do_and_count_as_a_patient_each() -> None:
    given = evidence()
    nobodys = replace(given, origin=np.full_like(given.origin, -1))
    barely = TASK.model_copy(update={"steps": 8})  # it still errs, so that intervals have a width
    (figures, _), (expected, _) = measure(nobodys, barely), measure(given, barely)
    for arm in ("trained", "raw"):
        assert figures[arm] == expected[arm]
    released = figures["trained_released"]["mean_auc"]
    assert released["value"] == expected["trained_released"]["mean_auc"]["value"]
    assert released["ci95"] != expected["trained_released"]["mean_auc"]["ci95"]
    assert len(set(nobodys.patients)) == len(nobodys.split) == 2 * len(set(given.patients))


def test_a_model_that_was_shared_is_read_as_it_is() -> None:
    """Judged on the films of the test split beside the ceiling; nothing is trained on what is not there."""
    given, nothing = evidence(), np.zeros(0, dtype=np.int64)
    tested = given.cohort.where("test")

    class Modelled(Unprotected):
        def judged(self, cohort: Cohort, model: Weights, context: RunContext) -> Judged:
            np.testing.assert_array_equal(cohort.films(), tested.films())
            upper = cohort.films()[:, 2:8, 2:8].mean(axis=(1, 2))
            return Judged(("Upper",), cohort.labels[:, :1], (model["sign"] * upper[:, None]).astype(np.float32))

    for sign, auc in ((1.0, 1.0), (-1.0, 0.0)):
        view = View({}, nothing.astype(np.bool_), nothing, {"sign": np.array([sign])})
        shared = replace(given, view=view, method=Modelled(), origin=nothing, split=given.split[:0])
        assert TASK.applies(shared)
        figures, stages = measure(shared)
        assert figures["trained"]["mean_auc"]["value"] == auc
        assert [arm for arm, one in figures.items() if one is None] == ["trained_released", "frozen", "unauthorised"]
        assert figures["raw"]["mean_auc"]["value"] > 0.95
        assert stages == {"findings clean"}
