"""Which differences between policies are told by the patients at hand, and how many patients would tell the others.

Runs are paired by seed, and by patient: in each replicate (`fedcxr.metrics.paired`) the same patients count equally
often under both policies. The variance of a mean difference is what replicates say of patients, and, where there are
several seeds, what single seeds' differences say of training: their variance, divided by their number. That counts
twice what seeds and patients have in common, and so errs towards `cannot tell`. With one seed, what another training
would have changed is not in it. Degrees of freedom are those of Welch and Satterthwaite.

Each policy is compared with the first of the table, and with the most useful that meets the constraints; p values are
corrected for all comparisons that are shown (Holm), whatever their figures: usefulness to findings, both kinds of
attackers, every other task's main figure, and what else of a task has a bound and replicates. Where a figure is that of
the best attacker, that is the one which came out best: that it was chosen for it is not in the interval.

All other pairs of policies are a family of their own, for tables and programs: they are corrected for each other alone,
and are on no screen. So every comparison is in one family and has one p value, what is shown is told as if nobody had
looked any further, and of either family one study in twenty tells a difference that is not there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.errors import FedcxrError
from fedcxr.runs import Run, stages
from fedcxr.runs.measured import figure_at
from fedcxr.table import Row, Table

SURE = 0.05  # corrected p value at or below which a difference is told
POWER = 0.8  # with which `patients_needed` would tell a difference as large as the one observed
NONE = 0.0005  # a difference that rounds to nothing, for which no number of patients is named
MOST = 5000  # comparisons of a family that is kept: nobody reads more
FEWEST = 100  # replicates that a standard error takes
MAIN = ("trained", "worst", "member")  # figures that come first wherever there are any, as a study's columns are called
NO_REPLICATES = "no replicates on file"


@dataclass(frozen=True)
class Measured:
    """One figure of one run."""

    value: float
    patients: int = 0
    replicates: npt.NDArray[np.float64] | None = None  # nan where undefined; None: the run keeps none


BySeed = Mapping[int, Measured]
Policy = Mapping[str, BySeed]  # by figure
OfTask = tuple[str, str]  # a task, and the path of one of its figures


def measured(
    run: Run, result: Mapping[str, Any], tasks: Mapping[str, OfTask], bounds: Iterable[str] = ()
) -> dict[str, Measured]:
    """What a finished run has to be compared by: figures of tasks by their columns, the two attackers that came out
    best, and, by their paths, bounds of which there are replicates."""
    privacy, found = result["privacy"], dict[str, tuple[Any, Mapping[str, Any] | None]]()
    worst, members = privacy.get("worst_case"), privacy.get("membership") or ()
    highest = max(members, key=lambda one: one["auc"]["value"] or 0.0, default=None)
    for name, (task, path) in tasks.items():
        told = figure_at(result, task, path)
        found |= {} if told is None else {name: (told["value"], _of_task(run, task, path))}
    found |= {} if not worst else {"worst": (worst["auc"]["value"], _of_attacker(run, worst))}
    found |= {} if not highest else {"member": (highest["auc"]["value"], _of_attacker(run, highest))}
    for bound in bounds:
        for task, path in _below(bound, result["utility"]):
            told, kept = figure_at(result, task, path), _of_task(run, task, path)
            if (task, path) not in tasks.values() and told is not None and kept is not None:
                found[bound] = (told["value"], kept)
    return {name: _measured(value, kept) for name, (value, kept) in found.items() if value is not None}


def _below(bound: str, tasks: Iterable[str]) -> Iterator[OfTask]:
    """Which figure of a task a path in `result.json` leads to."""
    for task in tasks:
        if bound.startswith(f"utility.{task}."):
            yield task, bound.removeprefix(f"utility.{task}.")


def _measured(value: float, kept: Mapping[str, Any] | None) -> Measured:
    if kept is None:
        return Measured(value)
    return Measured(value, kept["patients"], np.array(kept["values"], dtype=np.float64))


def _of_task(run: Run, task: str, path: str) -> Mapping[str, Any] | None:
    return _kept(run, stages.utility(task), path)


def _of_attacker(run: Run, who: Mapping[str, Any]) -> Mapping[str, Any] | None:
    named = [who.get(part) for part in ("adversary", "question", "attacker")]
    if None in named:  # of a time when entries did not say which question they answer
        return None
    adversary, question, attacker = map(str, named)
    return _kept(run, stages.attack(adversary), question, attacker)


def _kept(run: Run, stage: str, *path: str) -> Mapping[str, Any] | None:
    """Replicates on file; None: an earlier version kept none, or the file is gone or damaged."""
    try:
        found = run.outcome(stage)["replicates"]
        for part in path:
            found = found[part]
        return {"patients": int(found["patients"]), "values": list(found["values"])}
    except (FedcxrError, KeyError, TypeError, ValueError):
        return None


# Comparisons ----------------------------------------------------------------------------------------------------------


def compared(names: Sequence[str], policies: Sequence[Policy], best: int | None = None) -> list[dict[str, Any]]:
    """Every policy against the first, and against the best that meets the constraints, if one does."""
    return _family(names, _measured_in_both(policies, _shown(len(names), best)), policies)


def others(names: Sequence[str], policies: Sequence[Policy], best: int | None = None) -> list[dict[str, Any]] | None:
    """All pairs that are not among those; None: there are too many."""
    shown = {frozenset(pair) for pair in _shown(len(names), best)}
    pairs = [(left, right) for right in range(len(names)) for left in range(right + 1, len(names))]
    found = _measured_in_both(policies, [pair for pair in pairs if frozenset(pair) not in shown])
    return _family(names, found, policies) if len(found) <= MOST else None


def _shown(policies: int, best: int | None) -> list[tuple[int, int]]:
    references = dict.fromkeys([0] if best is None else [0, best])
    pairs = [(left, right) for right in references for left in range(policies) if left != right]
    return [pair for number, pair in enumerate(pairs) if pair[::-1] not in pairs[:number]]


def _measured_in_both(policies: Sequence[Policy], pairs: Sequence[tuple[int, int]]) -> list[tuple[str, int, int]]:
    """By which figures, the main ones first, these pairs can be compared: where some seed has it of both."""
    figures = dict.fromkeys([*MAIN, *(name for policy in policies for name in policy)])
    return [
        (figure, left, right)
        for figure in figures
        for left, right in pairs
        if set(policies[left].get(figure, ())) & set(policies[right].get(figure, ()))
    ]


def _family(
    names: Sequence[str], family: Sequence[tuple[str, int, int]], policies: Sequence[Policy]
) -> list[dict[str, Any]]:
    """Comparisons that are corrected for each other."""
    found = [difference(policies[left][figure], policies[right][figure], len(family)) for figure, left, right in family]
    adjusted = holm([one["p"] for one in found])
    return [
        {
            "figure": figure,
            "left": names[left],
            "right": names[right],
            **{part: value for part, value in one.items() if part != "why"},
            "p_adjusted": p,
            "told": p is not None and p <= SURE,
            "because": "told" if p is not None and p <= SURE else ": ".join(filter(None, ["cannot tell", one["why"]])),
        }
        for (figure, left, right), one, p in zip(family, found, adjusted, strict=True)
    ]


def difference(left: BySeed, right: BySeed, comparisons: int = 1) -> dict[str, Any]:
    """By how much a figure is higher on the left, with its interval, p value, and the patients it takes to tell."""
    pairs = [(left[seed], right[seed]) for seed in sorted(left.keys() & right.keys())]
    apart = [a.value - b.value for a, b in pairs]
    mean = statistics.fmean(apart)
    drawn = [
        a.replicates - b.replicates
        for a, b in pairs
        if a.replicates is not None and b.replicates is not None and len(a.replicates) == len(b.replicates)
    ]
    unknown = {"difference": {"value": mean, "ci95": None}, "p": None, "patients_needed": None, "seeds": len(pairs)}
    if len(drawn) < len(pairs) or len({len(one) for one in drawn}) > 1:
        return {**unknown, "why": NO_REPLICATES}
    means = np.mean(drawn, axis=0)
    means = means[~np.isnan(means)]
    if len(means) < FEWEST:
        return {**unknown, "why": "too few patients"}
    of_patients = float(np.var(means, ddof=1))
    of_seeds = statistics.variance(apart) / len(apart) if len(apart) > 1 else 0.0
    error, freedom = math.sqrt(of_patients + of_seeds), _freedom(of_patients, of_seeds, len(apart))
    reach = _quantile(0.975, freedom) * error
    patients = statistics.fmean(min(a.patients, b.patients) for a, b in pairs)
    return {
        "difference": {"value": mean, "ci95": [mean - reach, mean + reach]},
        "p": _p_value(mean, error, freedom),
        "patients_needed": _needed(mean, of_patients, of_seeds, patients, comparisons),
        "seeds": len(pairs),
        "why": None,
    }


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number as Holm does it; what is unknown stays so, and counts for none."""
    order = sorted((one, place) for place, one in enumerate(values) if one is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * value))
        adjusted[place] = highest
    return adjusted


def _freedom(of_patients: float, of_seeds: float, seeds: int) -> float:
    """Of a variance whose part from patients is known well, and whose other part rests on so many seeds."""
    return math.inf if of_seeds == 0.0 else (of_patients + of_seeds) ** 2 * (seeds - 1) / of_seeds**2


def _quantile(share: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return statistics.NormalDist().inv_cdf(share) if math.isinf(freedom) else float(stdtrit(freedom, share))


def _p_value(mean: float, error: float, freedom: float) -> float:
    """Two-sided."""
    from scipy.special import stdtr

    if error == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    score = -abs(mean) / error
    return 2 * (statistics.NormalDist().cdf(score) if math.isinf(freedom) else float(stdtr(freedom, score)))


def _needed(mean: float, of_patients: float, of_seeds: float, patients: float, comparisons: int) -> int | None:
    """Test patients that would tell such a difference among so many; None: it is about nothing, or takes more seeds.

    What patients add to the variance shrinks as their number grows, and what training adds does not.
    """
    if abs(mean) < NONE or patients == 0:
        return None
    normal = statistics.NormalDist()
    error = abs(mean) / (normal.inv_cdf(1 - SURE / (2 * comparisons)) + normal.inv_cdf(POWER))
    left = error**2 - of_seeds
    return math.ceil(of_patients * patients / left) if left > 0 else None


# For people -----------------------------------------------------------------------------------------------------------

NOTE = (
    "paired by seed and patient; p: two-sided, corrected for all of these (Holm); patients: to tell such a difference "
    "with 80 % power"
)


def screen(found: Sequence[Mapping[str, Any]]) -> Table | None:
    """What is told and what is not; None: nothing was compared."""
    rows = []
    for one in found:
        value, ends = one["difference"]["value"], one["difference"]["ci95"]
        between = "unknown" if ends is None else f"{ends[0]:+.3f} to {ends[1]:+.3f}"
        p, needed = one["p_adjusted"], one["patients_needed"]
        many = "" if one["told"] else "unknown" if needed is None else f"{needed:,}"
        cells = (f"{value:+.3f}", between, "unknown" if p is None else f"{p:.3f}", many)
        about = f"{one['figure']}: {one['left']} - {one['right']}"
        rows.append(Row(about, cells, "" if one["told"] else one["because"]))
    if not rows:
        return None
    return Table("Differences between policies", ("difference", "95 %", "p", "patients"), tuple(rows), (NOTE,))
