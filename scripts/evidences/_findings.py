"""Findings on real films by cross-validation: the product's classifier and ridge regression on 32 x 32 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from _real_cohorts import RealFilms, folds_of
from sklearn.linear_model import RidgeCV

from fedcxr.metrics import stratified_auc
from fedcxr.metrics.bootstrap import auc_difference_interval, auc_interval
from fedcxr.rng import derive, stream
from fedcxr.tasks import Bench
from fedcxr.tasks._findings import Labelled
from fedcxr.tasks.findings import Findings
from fedcxr.training import predict, to_tensor
from fedcxr.training.compute import Compute

FOLDS = 4
BASELINE = "ridge"
PIXELS = 32
PENALTIES = np.logspace(0, 4, 9)  # ridge chooses among them by leaving one training film out


@dataclass(frozen=True)
class Question:
    """Films, and what is to be read off them."""

    name: str
    cohort: RealFilms
    rows: npt.NDArray[np.intp]  # films that count
    labels: npt.NDArray[np.float32]  # (films that count, k) of 0 and 1


def questions(covid: RealFilms, kermany: RealFilms) -> list[Question]:
    """The three: viral or bacterial, and normal besides, of children; COVID-19 or another finding, of adults."""
    one = {name: kermany.labels[:, kermany.findings.index(name)] for name in ("viral", "bacterial", "normal")}
    ill = np.flatnonzero(one["normal"] == 0)
    three = np.stack(list(one.values()), axis=1)
    everyone = np.arange(len(kermany.films))
    sick = covid.labels[:, [covid.findings.index("COVID-19")]]
    return [
        Question("kermany: viral or bacterial", kermany, ill, one["viral"][ill, None]),
        Question("kermany: viral, bacterial, normal", kermany, everyone, three),
        Question("covid: COVID-19 or other", covid, np.arange(len(covid.films)), sick),
    ]


def answered(question: Question, task: Findings, seed: int, compute: Compute) -> list[dict[str, Any]]:
    """One entry per scorer.

    Figures are AUCs within a fold and a finding, because two networks' logits, or those of two findings, need not
    mean the same.
    """
    cohort, labels = question.cohort, question.labels
    films = cohort.films[question.rows]
    names = tuple(f"{question.name} {column}" for column in range(labels.shape[1]))
    fold = folds_of(cohort.units[question.rows], FOLDS, stream(seed, "findings", question.name, "folds"))
    scores = {BASELINE: np.zeros_like(labels), "classifier": np.zeros_like(labels)}
    small = to_tensor(films, compute)
    pixels = small.unflatten(2, (PIXELS, -1)).unflatten(4, (PIXELS, -1)).mean((3, 5)).flatten(1).cpu().numpy()
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        known = Labelled(films[train], labels[train], cohort.units[question.rows][train], names)
        network = task.train(known, Bench(derive(seed, "findings", question.name, number), compute), "")
        scores["classifier"][test] = predict(network, films[test], compute)
        ridge = RidgeCV(PENALTIES).fit(pixels[train], labels[train])
        scores[BASELINE][test] = ridge.predict(pixels[test]).reshape(-1, labels.shape[1])
    strata = np.add.outer(fold * labels.shape[1], np.arange(labels.shape[1])).ravel()
    people = np.repeat(cohort.units[question.rows], labels.shape[1])
    shown, base = labels.ravel() == 1, scores[BASELINE].ravel()
    entries: list[dict[str, Any]] = []
    for scorer, ours in ((name, given.ravel()) for name, given in scores.items()):
        first, second = (stream(seed, "findings", question.name, "bootstrap") for _ in range(2))
        value = stratified_auc(shown, ours, strata)
        entries.append(
            {
                "question": question.name,
                "films": len(films),
                "clusters": len(np.unique(people)),
                "scorer": scorer,
                "auc": value,
                "ci95": auc_interval(ours, shown, people, people, first, strata=strata),
                "difference": value - stratified_auc(shown, base, strata),
                "difference_ci95": auc_difference_interval(ours, base, shown, people, people, second, strata=strata),
            }
        )
    return entries
