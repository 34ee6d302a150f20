"""What codes of each size leave of eight classification tasks: learnt from one release, and asked of every other.

    scripts/evidence task_matrix --data DIR                  # DIR holds covid/ and kermany/
    scripts/evidence task_matrix --data DIR --only kermany --picture docs/pictures/task-matrix.png
    scripts/evidence task_matrix --data DIR --format json

One hospital releases the same films as `sca` codes of each S, under keys of its own, drawn here; whoever has them opens
the films, and whoever has none sees what the public part looks like. In each of four folds, in which no patient is in
two, a small network learns the classes from the films of three as they are in one release (or as they were: `films`),
and a logistic layer on its features learns each task; both are asked of the fourth, in every release. `no key` learns
from what shows without a key, lent the classes, and is asked of the same.

AUC is within folds, for numbers of two networks need not mean the same; of all classes it compares each with all
others. Accuracy, sensitivity and specificity are those of the likeliest class, classes weighing the same in training;
of all classes the latter two are means over classes. Brackets: 95 % intervals over patients. A task of which a
collection has a class in fewer groups of patients than there are folds is left out, and listed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from _ending import in_one_line
from _films import ByPatient
from _real_cohorts import RealFilms, covid, folds_of, kermany
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.methods import RunContext
from fedcxr.methods._coded import release_key
from fedcxr.methods.sca import Sca
from fedcxr.metrics import stratified_auc
from fedcxr.metrics.bootstrap import auc_interval
from fedcxr.rng import derive, stream
from fedcxr.tasks import Bench
from fedcxr.tasks._findings import Labelled
from fedcxr.tasks.findings import Findings
from fedcxr.training import predict
from fedcxr.training.compute import Compute
from fedcxr.view import Nobody, Shared, Thief

FOLDS = 4
CLEAN = "films"
SITE = "hospital"

# The paper has eight tasks over these four classes, and we did not have its list at hand: these eight are ours.
CLASSES = ("normal", "bacterial", "viral", "COVID-19")
ILL = CLASSES[1:]
TASKS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "normal or ill": (("normal",), ILL),
    "normal or bacterial": (("normal",), ("bacterial",)),
    "normal or viral": (("normal",), ("viral",)),
    "normal or COVID-19": (("normal",), ("COVID-19",)),
    "bacterial or viral": (("bacterial",), ("viral",)),
    "bacterial or COVID-19": (("bacterial",), ("COVID-19",)),
    "viral or COVID-19": (("viral",), ("COVID-19",)),
    "all classes": tuple((name,) for name in CLASSES),
}
# What the two collections call them; what is not here, such as fungi or ARDS of unknown cause, is of no class.
CALLED = {
    "normal": ("normal", "No Finding"),
    "bacterial": (
        "bacterial",
        "Klebsiella",
        "Legionella",
        "Mycoplasma Bacterial Pneumonia",
        "Streptococcus",
    ),
    "viral": ("viral", "SARS", "Varicella"),
    "COVID-19": ("COVID-19",),
}

Films = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """A task as far as a collection has films for it."""

    name: str
    classes: tuple[str, ...]  # k, of which the last of two is the positive one
    rows: Rows  # films that count
    truth: Numbers  # (films that count,) place in `classes`


def main() -> None:
    """A block of lines per task; what cannot show anything ends with one line and its exit code."""
    with in_one_line():
        _run(_options())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with covid/ and kermany/")
    parser.add_argument("--only", choices=("covid", "kermany"))
    parser.add_argument("--s", type=int, nargs="+", default=(4, 8, 16), help="numbers kept in each cell")
    parser.add_argument("--s-n", type=int, default=24, help="fakes in each cell")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=150, help="of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="where to draw the ROC curves")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    started, compute = time.process_time(), Compute.choose("cpu")
    collections = {cohort.name: cohort for cohort in (read(options.data, options.size) for read in (covid, kermany))}
    told = []
    for name, cohort in collections.items():
        if options.only in (None, name):
            others = next(other.films for other in collections.values() if other is not cohort)
            told.append(measured(cohort, others, options, compute))
    cost = {"cpu_minutes": round((time.process_time() - started) / 60, 1), "precision": compute.precision}
    if options.picture:
        _draw(told, options.picture)
    for one in told:
        del one["curves"]
    if options.format == "json":
        print(json.dumps({"size": options.size, "seed": options.seed, **cost, "collections": told}, indent=2))
        return
    print(f"{options.size} px, seed {options.seed}, {compute.precision}, {FOLDS} folds")
    for one in told:
        _table(one)
    print(f"\n{cost['cpu_minutes']} CPU minutes")


def measured(cohort: RealFilms, others: Films, options: argparse.Namespace, compute: Compute) -> dict[str, Any]:
    """All figures of one collection; `others` are films of somebody without a key, who practises on them."""
    own = classes_of(cohort)
    fold = folds_of(cohort.units, FOLDS, stream(options.seed, "tasks", cohort.name, "folds"))
    asked, left_out = questions(cohort.name, own, cohort.units, fold)
    with compute.session():
        shown, closed = released(cohort, others, options, compute)
        features = _features(cohort, own, fold, shown, closed, options, compute)
    entries, curves = [], []
    for question in asked:
        for trained, tested, keyed in features[0]:
            scores = np.zeros((len(question.rows), len(question.classes)))
            for number, seen in enumerate(features):
                learnt, read = seen[trained, tested, keyed]
                scores[fold[question.rows] == number] = answered(question, learnt, read, fold == number)
            entry, curve = judged(question, scores, cohort.units, fold, options.seed)
            head = {"task": question.name, "trained": trained, "tested": tested, "key": keyed}
            entries.append({**head, **entry})
            curves.append({**head, "curve": curve})
    counts = {name: int((own == name).sum()) for name in CLASSES}
    return {"name": cohort.name, "classes": counts, "left_out": left_out, "figures": entries, "curves": curves}


def classes_of(cohort: RealFilms) -> npt.NDArray[np.object_]:  # (n,)
    """The class of each film; empty: it is of none."""
    own = np.full(len(cohort.films), "", dtype=object)
    for name, called in CALLED.items():
        columns = [cohort.findings.index(finding) for finding in called if finding in cohort.findings]
        own[(cohort.labels[:, columns] == 1).any(axis=1)] = name
    return own


def questions(
    name: str, own: npt.NDArray[np.object_], units: Numbers, fold: Numbers
) -> tuple[list[Question], dict[str, str]]:
    """The tasks for which there are films, and why the others are left out."""
    asked, left_out = [], {}
    for task, groups in TASKS.items():
        there = [tuple(one for one in group if (own == one).any()) for group in groups]
        if len(groups) > 2:
            there = [group for group in there if group]  # as many classes as there are
        sets = [np.isin(own, group) for group in there]
        few = [len(np.unique(units[films])) for films in sets]
        if len(sets) < 2 or min(few) < FOLDS:
            missing = [" or ".join(group) for group, number in zip(groups, few, strict=False) if number < FOLDS]
            told = f"{', '.join(missing)}: fewer than {FOLDS} groups of patients" if missing else "one class only"
            left_out[task] = told
        elif any(not (films & (fold != number)).any() for films in sets for number in range(FOLDS)):
            left_out[task] = "all films of a class are in one fold"
        else:
            rows = np.flatnonzero(np.any(sets, axis=0))
            truth = np.argmax(np.stack(sets)[:, rows], axis=0).astype(np.int64)
            asked.append(Question(task, tuple(" or ".join(group) for group in there), rows, truth))
    if not asked:
        raise DataError(
            f"{name}: there is no task to be learnt",
            given=", ".join(f"{label} {(own == label).sum()}" for label in CLASSES),
            allowed=f"two classes, each of {FOLDS} groups of patients or more",
            do="more films",
        )
    return asked, left_out


def released(
    cohort: RealFilms, others: Films, options: argparse.Namespace, compute: Compute
) -> tuple[dict[str, Films], dict[str, Films]]:
    """The films as the key's holder sees each release, beside themselves; and as others do."""
    n, context = len(cohort.films), RunContext.on(compute)
    index = pd.DataFrame({"image": [f"{row}" for row in range(n)], "patient": cohort.patients.astype(str)})
    index = index.assign(visit=0, view="PA", age=50, sex="F", source=SITE, split="train")
    films = Cohort.whole(cohort.films, index.assign(**dict.fromkeys(cohort.findings, np.nan)), cohort.findings)
    shown: dict[str, Films] = {}
    closed: dict[str, Films] = {}
    for s in sorted(set(options.s)):
        method, name = cast(Sca, plugins.build("method", {"name": "sca", "s": s, "s_n": options.s_n})), f"S {s}"
        key = release_key(SITE, stream(options.seed, "tasks", "keys", s))
        shared = Shared([method.release(films, key, {}, stream(options.seed, "tasks", "release", s), context)])
        shown[name] = np.asarray(method.view(shared, Thief({SITE: key}), context).forms["films"], dtype=np.uint8)
        looks = method.appearance(others, {}, context)
        if looks is not None:
            closed[name] = looks.released(method.view(shared, Nobody(), context))
    return {**shown, CLEAN: cohort.films}, closed


Seen = dict[tuple[str, str, bool], tuple[Scores, Scores]]  # by what was learnt from, what is asked of, and the key


def _features(
    cohort: RealFilms,
    own: npt.NDArray[np.object_],
    fold: Numbers,
    shown: Mapping[str, Films],
    closed: Mapping[str, Films],
    options: argparse.Namespace,
    compute: Compute,
) -> list[Seen]:
    """By fold, what a network makes of all films that has learnt from those of the other folds."""
    some = [name for name in CLASSES if (own == name).any()]
    labels = np.stack([own == name for name in some], axis=1).astype(np.float32)
    known, task = own != "", Findings(width=8, stride=4, steps=options.steps, shift=6)
    found: list[Seen] = []
    for number in range(FOLDS):
        learnt, seen = known & (fold != number), Seen()

        def network(films: Films) -> Any:
            given = Labelled(films[learnt], labels[learnt], cohort.units[learnt], tuple(some))  # noqa: B023
            seed = derive(options.seed, "tasks", cohort.name, number)  # noqa: B023
            return task.train(given, Bench(seed, compute), "").backbone

        for name, films in shown.items():
            eyes = network(films)
            made = {other: predict(eyes, asked, compute, 64).astype(np.float64) for other, asked in shown.items()}
            seen |= {(name, other, True): (made[name], asked) for other, asked in made.items()}
            _say(f"{cohort.name}, fold {number + 1}, {name}")
        for name, films in closed.items():
            # Where nothing differs from film to film there is nothing to learn, and nothing to read.
            alike = bool((films == films[:1]).all())
            blank = np.zeros((len(films), 1))
            features = blank if alike else predict(network(films), films, compute, 64).astype(np.float64)
            seen[name, name, False] = (features, features)
        found.append(seen)
    return found


def answered(question: Question, learnt: Scores, read: Scores, tested: npt.NDArray[np.bool_]) -> Scores:
    """The probability of each class, of the films of the fold that was not learnt from."""
    here = tested[question.rows]
    layer = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000))
    layer.fit(learnt[question.rows[~here]], question.truth[~here])
    found: Scores = layer.predict_proba(read[question.rows[here]])
    return found


def judged(
    question: Question, scores: Scores, units: Numbers, fold: Numbers, seed: int
) -> tuple[dict[str, Any], list[float]]:
    """Figures with intervals, and the mean ROC curve within folds."""
    truth, k = question.truth, len(question.classes)
    people, turn = units[question.rows], fold[question.rows]
    compared = [1] if k == 2 else list(range(k))
    shown = np.stack([truth == column for column in compared], axis=1)
    strata = np.add.outer(turn * k, np.array(compared))
    flat = scores[:, compared].ravel(), shown.ravel(), strata.ravel(), np.repeat(people, len(compared))
    rng = stream(seed, "tasks", question.name, "bootstrap")
    area = stratified_auc(flat[1], flat[0], flat[2])
    ends = auc_interval(flat[0], flat[1], flat[3], flat[3], rng, strata=flat[2])
    called = scores.argmax(axis=1)
    by_patient = ByPatient(people, stream(seed, "tasks", question.name, "rates"))
    hits = [(called == column)[truth == column] for column in compared]
    misses = [(called != column)[truth != column] for column in compared]
    return {
        "films": len(truth),
        "auc": {"value": None if np.isnan(area) else area, "ci95": ends},
        "accuracy": _rate([called == truth], [np.ones(len(truth), dtype=bool)], by_patient),
        "sensitivity": _rate(hits, [truth == column for column in compared], by_patient),
        "specificity": _rate(misses, [truth != column for column in compared], by_patient),
    }, _curve(scores[:, compared], shown, turn)


def _rate(
    right: list[npt.NDArray[np.bool_]], groups: list[npt.NDArray[np.bool_]], by_patient: ByPatient
) -> dict[str, Any]:
    """The share of right answers in each group of films, as a mean over groups."""
    drawn = []
    for answers, group in zip(right, groups, strict=True):
        weights = by_patient.weights[:, group]
        with np.errstate(invalid="ignore"):  # nobody of a group was drawn: no rate
            drawn.append(weights @ answers.astype(np.float64) / weights.sum(axis=1))
    low, high = np.nanquantile(np.mean(drawn, axis=0), [0.025, 0.975])
    return {"value": float(np.mean([answers.mean() for answers in right])), "ci95": [float(low), float(high)]}


GRID = np.linspace(0, 1, 101)


def _curve(scores: Scores, shown: npt.NDArray[np.bool_], turn: Numbers) -> list[float]:
    """True positive rates at the false positive rates of GRID: the mean over folds and classes by pairs compared."""
    rates, pairs = [], []
    for number in range(FOLDS):
        here = turn == number
        for column in range(shown.shape[1]):
            positive = shown[here, column]
            if positive.any() and not positive.all():
                false, true, _ = roc_curve(positive, scores[here, column])
                rates.append(np.interp(GRID, false, true))
                pairs.append(int(positive.sum() * (~positive).sum()))
    return [float(rate) for rate in np.average(rates, axis=0, weights=pairs)]


# Printing and drawing -------------------------------------------------------------------------------------------------

FIGURES = ("auc", "accuracy", "sensitivity", "specificity")


def _table(told: Mapping[str, Any]) -> None:
    print(f"\n{told['name']}: " + ", ".join(f"{films} {name}" for name, films in told["classes"].items()))
    for task, why in told["left_out"].items():
        print(f"  left out: {task} ({why})")
    for task in dict.fromkeys(one["task"] for one in told["figures"]):
        rows = [one for one in told["figures"] if one["task"] == task]
        print(f"\n{task}, {rows[0]['films']} films")
        print(f"  {'learnt from':12}{'asked of':12}" + "".join(f"{name:22}" for name in FIGURES))
        for one in rows:
            learnt = one["trained"] if one["key"] else f"{one['trained']}, no key"
            cells = "".join(f"{_told(one[name]):22}" for name in FIGURES)
            print(f"  {learnt:14}{one['tested']:10}{cells}".rstrip())


def _told(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "unknown"
    ends = "" if figure["ci95"] is None else " [{:.3f}, {:.3f}]".format(*figure["ci95"])
    return f"{figure['value']:.3f}{ends}"


def _draw(told: list[dict[str, Any]], file: Path) -> None:
    from matplotlib.figure import Figure

    panels = [(one, task) for one in told for task in dict.fromkeys(entry["task"] for entry in one["curves"])]
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(2.7 * columns, 2.8 * lines + 0.5), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, (one, task) in zip(axes, panels, strict=False):
        for entry in one["curves"]:
            if entry["task"] == task and entry["trained"] == entry["tested"]:
                label = entry["trained"] if entry["key"] else f"{entry['trained']}, no key"
                place.plot(GRID, entry["curve"], linestyle="-" if entry["key"] else ":", linewidth=1, label=label)
        place.set_title(f"{one['name']}: {task}", fontsize=8)
        place.grid(alpha=0.3)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    for place in axes[: len(panels)]:
        place.set_xlabel("false positive rate", fontsize=8)
        place.set_ylabel("true positive rate", fontsize=8)
        place.tick_params(labelbottom=True, labelleft=True, labelsize=7)  # below some of them there is nothing
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize=7)
    figure.savefig(file, dpi=100)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
