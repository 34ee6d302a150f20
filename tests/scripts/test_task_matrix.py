"""The matrix of tasks: which tasks there are films for, and what its figures count."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fedcxr.errors import ConfigError, DataError
from fedcxr.rng import stream
from fedcxr.training.compute import Compute

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "evidences"))
    import task_matrix

    return task_matrix


def made_up(script: ModuleType, counts: dict[str, int]) -> Any:
    """So many films of each finding; whether there is pneumonia shows as a bright middle."""
    findings = np.repeat(list(counts), list(counts.values()))
    n = len(findings)
    films = stream(0).integers(0, 90, (n, 32, 32), dtype=np.uint8)
    films[findings != "normal", 8:24, 8:24] += 130
    labels = (findings[:, None] == np.array(list(counts))).astype(np.float32)
    numbers, none = np.arange(n), np.empty(0, dtype=np.intp)
    nowhere = np.zeros(n, dtype=bool)
    return script.RealFilms("toy", films, numbers, numbers, numbers // 2, nowhere, labels, tuple(counts), (none, none))


def asked(script: ModuleType, cohort: Any) -> Any:
    """The tasks, and what is left out."""
    own = script.classes_of(cohort)
    fold = script.folds_of(cohort.units, script.FOLDS, stream(1))
    return script.questions("toy", own, cohort.units, fold)


def test_the_tasks_are_those_that_the_labels_allow(script: ModuleType) -> None:
    counts = {"normal": 24, "bacterial": 24, "SARS": 12, "Varicella": 12, "COVID-19": 6, "Lipoid": 10}
    questions, left_out = asked(script, made_up(script, counts))
    told = {question.name: len(question.rows) for question in questions}
    assert told == {"normal or ill": 78, "normal or bacterial": 48, "normal or viral": 48, "bacterial or viral": 48}
    assert left_out == dict.fromkeys(
        ("normal or COVID-19", "bacterial or COVID-19", "viral or COVID-19", "all classes"),
        "COVID-19: fewer than 4 groups of patients",
    )
    ill = next(question for question in questions if question.name == "normal or ill")
    assert ill.truth.sum() == 54, "what is of no class does not count, and the ill are the positive ones"


@pytest.mark.parametrize("counts", [{"normal": 40}, {"normal": 40, "viral": 4}, {"Lipoid": 9}])
def test_one_class_or_fewer_patients_than_folds_is_one_line(script: ModuleType, counts: dict[str, int]) -> None:
    with pytest.raises(DataError, match="there is no task to be learnt") as caught:
        asked(script, made_up(script, counts))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_codes_that_cannot_be_are_refused_in_one_line(script: ModuleType) -> None:
    cohort, options = made_up(script, {"normal": 8, "viral": 8}), Namespace(s=(16,), s_n=2, size=32, steps=1, seed=0)
    with pytest.raises(ConfigError, match="padded makes all films' values alike") as caught:
        script.measured(cohort, cohort.films, options, Compute.choose("cpu", "fp32"))
    assert "\n" not in str(caught.value)


def test_every_release_is_learnt_from_and_asked_of_and_without_a_key_nothing_is_told(script: ModuleType) -> None:
    cohort, others = made_up(script, {"normal": 24, "viral": 24}), stream(2).integers(0, 255, (20, 32, 32), np.uint8)
    options = Namespace(s=(4,), s_n=24, size=32, steps=12, seed=0)
    told = script.measured(cohort, others, options, Compute.choose("cpu", "fp32"))
    cells = [one for one in told["figures"] if one["task"] == "normal or viral"]
    sets = ("S 4", "films")
    assert {(one["trained"], one["tested"]) for one in cells if one["key"]} == {(a, b) for a in sets for b in sets}
    assert min(one["auc"]["value"] for one in cells if one["key"]) > 0.9
    closed = [one["auc"]["value"] for one in cells if not one["key"]]
    assert closed == [0.5]
    for one in cells:
        for figure in script.FIGURES:
            low, high = one[figure]["ci95"]
            assert 0 <= low <= one[figure]["value"] <= high <= 1


def test_rates_are_counted_by_hand(script: ModuleType) -> None:
    """Three classes; of each half is right, but of the last all."""
    truth = np.array([0, 0, 1, 1, 2, 2])
    scores = np.eye(3)[[0, 1, 1, 2, 2, 2]] + 0.1
    question = script.Question("all classes", ("a", "b", "c"), np.arange(6), truth)
    figures, curve = script.judged(question, scores, np.arange(6), np.zeros(6, dtype=np.int64), 0)
    assert figures["accuracy"]["value"] == pytest.approx(4 / 6)
    assert figures["sensitivity"]["value"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert figures["specificity"]["value"] == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)
    assert len(curve) == len(script.GRID)
    assert curve[-1] == 1.0
