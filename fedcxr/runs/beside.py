"""Runs beside each other: their main figures in one table, and of two all that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.runs import comparison, measured
from fedcxr.runs.figures import figures
from fedcxr.runs.identity import differing, leaves
from fedcxr.runs.stored import Stored
from fedcxr.table import Row, Table, figure, span
from fedcxr.verdict import Figure

SAME_MACHINE = ("torch", "numpy", "python", "platform", "precision")  # of an environment: what bytes may depend on
SHOWN = 20  # figures that a screen takes
DIGITS = 12  # of a digest
NOT_COMPARED = ("name",)  # of a scenario: what a run is called changes nothing

APART, WITHIN, UNKNOWN = "apart", "within", "no interval"


def compared(runs: Sequence[Stored]) -> dict[str, Any]:
    """The main figures of each, and by which keys of their scenarios they differ."""
    documents = [dict(leaves({k: v for k, v in run.scenario.items() if k not in NOT_COMPARED})) for run in runs]
    keys = dict.fromkeys(key for document in documents for key in document)
    absent = object()
    differs = [key for key in keys if len({repr(one.get(key, absent)) for one in documents}) > 1]
    return {
        "schema": 1,
        "keys": differs,
        "runs": [
            {
                "run": run.name,
                "folder": str(run.folder),
                "differs": {key: document[key] for key in differs if key in document},
                "figures": {name: look(run.result) for name, look in comparison.FIGURES.items()},
                "tasks": measured.main_figures(run.result),
                "formal": run.result["privacy"].get("formal"),
                "cost": run.result["cost"],
            }
            for run, document in zip(runs, documents, strict=True)
        ],
    }


def compared_table(told: Mapping[str, Any]) -> Table:
    """One row for each figure and each key that differs, and a column for each run."""
    runs = told["runs"]
    everybodys = [key for key in told["keys"] if all(key in run["differs"] for run in runs)]
    rows = [Row(key, tuple(_short(run["differs"][key]) for run in runs)) for key in everybodys]
    tasks = [
        task for task in dict.fromkeys(task for run in runs for task in run["tasks"]) if task not in comparison.HERE
    ]
    for name in (*comparison.FIGURES, *tasks):
        found = [Figure.of({**run["tasks"], **run["figures"]}.get(name)) for run in runs]
        if any(one.value is not None for one in found):
            rows.append(Row(name, tuple("" if one.value is None else figure(one.value) for one in found)))
            rows.append(Row(f"{name}, 95 %", tuple(_span(one) for one in found)))
    if any(run["formal"] for run in runs):
        rows.append(Row("epsilon", tuple(_epsilon(run["formal"]) for run in runs)))
    rows.append(Row("MB sent", tuple(f"{run['cost']['bytes_up'] / 1e6:.1f}" for run in runs)))
    rows.append(Row("seconds", tuple(f"{run['cost']['seconds']['total']:.0f}" for run in runs)))
    others = len(told["keys"]) - len(everybodys)
    more = [f"{others} keys differ that only some of these scenarios have; --format json has all"] * bool(others)
    notes = (*more, *comparison.NOTES[:2], *measured.in_words(tasks))
    return Table("", tuple(run["run"] for run in runs), tuple(rows), notes)


def diff(left: Stored, right: Stored) -> dict[str, Any]:
    """All that differs between two runs: scenario, code, machine, released bytes and figures."""
    theirs, ours = (dict(leaves(run.scenario)) for run in (left, right))
    keys = dict.fromkeys([*theirs, *ours])
    scenario = {
        key: [theirs.get(key), ours.get(key)]
        for key in keys
        if (key in theirs, theirs.get(key)) != (key in ours, ours.get(key))
    }
    versions = [{key: str(value) for key, value in run.versions.items()} for run in (left, right)]
    around = [{key: run.result["environment"].get(key) for key in SAME_MACHINE} for run in (left, right)]
    sites = dict.fromkeys([*left.digests, *right.digests])
    digests = {
        site: [left.digests.get(site), right.digests.get(site)]
        for site in sites
        if left.digests.get(site) != right.digests.get(site)
    }
    one, other = figures(left.result), figures(right.result)
    found = [_difference(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])]
    differ = [entry for entry in found if entry is not None]
    same = not {key for key in scenario if key not in NOT_COMPARED} and versions[0] == versions[1]
    return {
        "schema": 1,
        "left": str(left.folder),
        "right": str(right.folder),
        "scenario": scenario,
        "code": differing(*versions),
        "environment": differing(*around),
        "digests": digests,
        "figures": differ,
        "equal_figures": len(found) - len(differ),
        "not_reproduced": same and bool(digests or differ),
    }


def diff_tables(told: Mapping[str, Any]) -> list[Table]:
    """What differs, for people: the scenario, then figures, those first that are apart beyond their intervals."""
    tables = [
        Table(head, ("left", "right"), tuple(Row(key, tuple(map(_short, pair))) for key, pair in told[part].items()))
        for head, part in (("scenario", "scenario"), ("released bytes", "digests"))
        if told[part]
    ]
    order = [APART, WITHIN, UNKNOWN]
    listed = sorted(told["figures"], key=lambda one: (order.index(one["told"]), -abs(one["difference"] or 0.0)))
    rows = tuple(
        Row(
            one["figure"].partition(".")[2],  # of utility, privacy or cost
            (figure(one["left"]), figure(one["right"]), _signed(one["difference"]), one["told"]),
        )
        for one in listed[:SHOWN]
    )
    more = len(listed) - len(rows)
    notes = (
        *([f"{more} more figures differ; --format json has all"] if more else []),
        f"{told['equal_figures']} figures are equal",
        "apart: the 95 % intervals do not meet; within: they do, and the difference may be chance",
    )
    return [*tables, Table("figures", ("left", "right", "by", ""), rows, notes)]


def verdict(told: Mapping[str, Any]) -> tuple[str, ...]:
    """A headline, and what it rests on."""
    same = not {key for key in told["scenario"] if key not in NOT_COMPARED} and not any(told["code"])
    machine = [
        f"{key} {theirs} and {told['environment'][1].get(key)}" for key, theirs in told["environment"][0].items()
    ]
    if told["not_reproduced"]:
        what = [
            *([f"releases of {', '.join(told['digests'])} have other digests"] if told["digests"] else []),
            *([f"{len(told['figures'])} figures differ"] if told["figures"] else []),
        ]
        where = f"The machines differ: {'; '.join(machine)}." if machine else "The machines are told to be alike."
        return (
            "NOT REPRODUCED: the same scenario, seed and code gave something else.",
            f"Of one scenario, {' and '.join(what)}.",
            where,
            "A result that does not repeat proves nothing: find out which of both is right before either is used.",
        )
    if same:
        return ("The same run twice: every released byte and every figure agree.",)
    others = [f"{len(told['scenario'])} keys of the scenario"] * bool(told["scenario"])
    others += ["the code"] * any(told["code"])
    apart = sum(one["told"] == APART for one in told["figures"])
    return (
        f"Different: {' and '.join(others)}.",
        f"{apart} figures are apart beyond their intervals, of {len(told['figures'])} that differ.",
    )


def _difference(name: str, left: Figure | None, right: Figure | None) -> dict[str, Any] | None:
    one, other = left or Figure(None), right or Figure(None)
    if one == other:
        return None
    values = one.value, other.value
    return {
        "figure": name,
        "left": values[0],
        "right": values[1],
        "left_ci95": _ends(one),
        "right_ci95": _ends(other),
        "difference": None if values[0] is None or values[1] is None else values[1] - values[0],
        "told": _told(one, other),
    }


def _told(one: Figure, other: Figure) -> str:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return UNKNOWN
    return APART if one.low > other.high or other.low > one.high else WITHIN


def _ends(one: Figure) -> list[float] | None:
    return None if one.low is None or one.high is None else [one.low, one.high]


def _span(one: Figure) -> str:
    ends = _ends(one)
    return "" if ends is None else span(ends)


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"


def _epsilon(formal: Mapping[str, Any] | None) -> str:
    return "" if formal is None else f"{formal['epsilon']:.3g} per {formal['unit'].replace('_', ' ')}"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 2 * DIGITS else f"{text[:DIGITS]}..."
