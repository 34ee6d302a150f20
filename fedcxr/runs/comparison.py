"""What the runs of a study say beside each other: means over seeds, how sure they are, and what they cost."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedcxr.runs import Run, differences
from fedcxr.runs.constraints import judged, meets
from fedcxr.runs.measured import figure_at
from fedcxr.runs.study import Study
from fedcxr.storage.disk import read_json, write_atomic, write_json
from fedcxr.table import Row, Table, figure, span
from fedcxr.tasks import Main
from fedcxr.verdict import listed

Figure = Mapping[str, Any]  # as results hold them: value and ci95

# What is compared: the name of a column, and where its figure lies in a result.
FIGURES: Mapping[str, Callable[[Mapping[str, Any]], Figure | None]] = {
    "raw": lambda result: _utility(result, "raw"),
    "frozen": lambda result: _utility(result, "frozen"),
    "trained": lambda result: _utility(result, "trained"),
    "alone": lambda result: _utility(result, "alone"),
    "start": lambda result: _utility(result, "start"),
    "naive": lambda result: _attack(result, "naive"),
    "retrained": lambda result: _attack(result, "retrained"),
    "worst": lambda result: (result["privacy"]["worst_case"] or {"auc": None})["auc"],
    "member": lambda result: _highest(result["privacy"].get("membership", [])),
}
HERE = {"findings": "trained"}  # tasks of which some of these are figures, and which of them is their main one
UNKNOWN = figure(None)
NOTHING: Mapping[str, Any] = {"mean": None, "std": None, "ci95": None}  # known of a figure
MEETS = {True: "yes", False: "no", None: "cannot be told"}
ALWAYS = ("meets", "runs", "worst", "95 % ", "time", "MB sent")
USEFUL = ("trained", "95 %")  # likewise, unless it is by other tasks alone that usefulness was measured
OF_MODELS = (
    "member: AUC of whoever tells patients who were learnt from; epsilon: what is guaranteed, and to whom",
    "alone: the same learning at each site alone, mean; start: where learning began, without any hospital's film",
)
NOTES = (
    "raw, frozen, trained: mean AUC of the findings; raw: nothing is protected",
    "naive, retrained, worst: AUC of whoever links films to known people; worst: of all attackers",
    "figures: mean over the runs, and ± its standard deviation; intervals: 95 %, the widest that the runs give",
)


def compare(study: Study, out: Path) -> dict[str, Any]:
    """What this code's runs on file say: per cell each figure's mean and spread over seeds, and if controls held."""
    rows, policies = list[dict[str, Any]](), list[differences.Policy]()
    mains: dict[str, Main] = {}
    bounds = list(dict.fromkeys(constraint.path for cell in study.cells() for constraint in cell.constraints))
    for cell in study.cells():
        runs = {seed: Run.place(out, cell.scenario(seed)) for seed in study.seeds}
        finished = {seed: result for seed, run in runs.items() if (result := run.own_result) is not None}
        results = list(finished.values())
        attacks = [attack for result in results for attack in result["privacy"]["attacks"]]
        judgements = judged(cell.constraints, results, len(runs))
        tasks = {name: task.main for name, task in cell.scenario(study.seeds[0]).tasks.items() if task.main is not None}
        mains |= tasks
        columns = {HERE.get(name, name): (name, main.path) for name, main in tasks.items()}
        measured = {seed: differences.measured(runs[seed], one, columns, bounds) for seed, one in finished.items()}
        policies.append(_by_figure(measured))
        rows.append(
            {
                "differs": dict(cell.differs),
                "described": cell.described(),
                "name": cell.described(),
                "runs": len(results),
                "figures": {name: _over_seeds([look(r) for r in results]) for name, look in FIGURES.items()},
                "tasks": {
                    name: _over_seeds([figure_at(result, name, main.path) for result in results])
                    for name, main in tasks.items()
                },
                "conclusive": all(attack["conclusive"] for attack in attacks) if attacks else None,
                "converged": _converged(results),
                "guarantee": _guarantee(results),
                "cost": _cost(results),
                "folders": [str(run.folder) for run in runs.values()],
                "constraints": judgements,
                "meets": meets(judgements),
            }
        )
    told = {
        name: asdict(main)
        for name, main in mains.items()
        if any(row["tasks"].get(name, NOTHING)["mean"] is not None for row in rows)
    }
    names, best = [str(row["name"]) for row in rows], _best(rows, list(told))
    return {
        "schema": 1,
        "study": study.name,
        "seeds": list(study.seeds),
        "constraints": list(study.constraints),
        "tasks": told,
        "rows": rows,
        "differences": differences.compared(names, policies, best),
        "other_differences": differences.others(names, policies, best),
    }


def _by_figure(measured: Mapping[int, Mapping[str, differences.Measured]]) -> differences.Policy:
    """What runs have to be compared by, turned from seeds to figures."""
    names = dict.fromkeys(name for one in measured.values() for name in one)
    return {name: {seed: one[name] for seed, one in measured.items() if name in one} for name in names}


def _best(rows: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> int | None:
    """The place of the most useful policy that meets the constraints: by findings, or else by the first task."""
    judge = next((name for name in HERE if name in tasks), next(iter(tasks), None))
    if judge is None:
        return None
    useful = [(row["tasks"].get(judge, NOTHING)["mean"], -place) for place, row in enumerate(rows) if row["meets"]]
    known = [(mean, place) for mean, place in useful if mean is not None]
    return -max(known)[1] if known else None


def keep(comparison: Mapping[str, Any], out: Path) -> Path:
    """Store a comparison beside its runs, for programs and for spreadsheets; returns where the former is."""
    folder = out / str(comparison["study"])
    write_json(folder / "study.json", comparison)
    written = io.StringIO(newline="")
    csv.writer(written).writerows(_lines(comparison))
    write_atomic(folder / "study.csv", written.getvalue().encode())
    return folder / "study.json"


def _lines(comparison: Mapping[str, Any]) -> Iterator[list[object]]:
    """One line per scenario; what is unknown is an empty cell."""
    rows = comparison["rows"]
    keys = list(dict.fromkeys(key for row in rows for key in row["differs"]))
    parts = ("mean", "std", "low", "high")
    tasks = of_tasks(comparison)
    figures = [f"{name} {part}" for name in (*FIGURES, *tasks) for part in parts]
    formal = ("epsilon", "delta", "unit")
    costs = ("seconds", "bytes_up", "bytes_down")
    bound = ["meets"] if any(row["constraints"] for row in rows) else []
    yield ["scenario", *keys, "runs", *figures, "controls held", "converged", *formal, *costs, *bound, "folders"]
    for row in rows:
        found = [*(row["figures"][name] for name in FIGURES), *(row["tasks"].get(name, NOTHING) for name in tasks)]
        cells = [cell for one in found for cell in (one["mean"], one["std"], *(one["ci95"] or (None, None)))]
        yield [
            row["described"],
            *(row["differs"].get(key) for key in keys),
            row["runs"],
            *cells,
            row["conclusive"],
            row["converged"],
            *((row.get("guarantee") or {}).get(part) for part in formal),
            *(row["cost"].get(part) for part in costs),
            *(MEETS[row["meets"]] for _ in bound),
            " ".join(row["folders"]),
        ]


def load(folder: Path) -> dict[str, Any]:
    """A stored comparison."""
    found: dict[str, Any] = read_json(folder / "study.json")
    return found


def screen(comparison: Mapping[str, Any], folder: Path) -> Table:
    """A comparison for a terminal: first what matters most, which a narrow one shows in its first block."""
    bound = any(row["constraints"] for row in comparison["rows"])
    tasks = of_tasks(comparison)
    cells = [dict(_cells(row, bound, list(tasks))) for row in comparison["rows"]]
    # What no row has is no column: films have no members, and models no released films.
    always = ALWAYS if tasks else (*ALWAYS, *USEFUL)
    heads = [head for head in cells[0] if head in always or any(one[head] != UNKNOWN for one in cells)] if cells else []
    rows = [
        Row(row["described"], tuple(one[head] for head in heads), _doubt(row))
        for row, one in zip(comparison["rows"], cells, strict=True)
    ]
    shared = "member" in heads
    notes = (
        *(NOTES if {"raw", "frozen", "trained"} & set(heads) else NOTES[1:]),
        *(OF_MODELS if shared else ()),
        *(f"{name}: {main['name']}, {main['says']}" for name, main in tasks.items()),
        f"runs are below {folder}; study.csv there has all figures of each",
        *(f"{row['name']}: {MEETS[row['meets']]}. {_reasons(row)}" for row in comparison["rows"] if row["constraints"]),
    )
    return Table(
        str(comparison["study"]), tuple(head.rstrip() for head in heads), tuple(rows), notes, _headline(comparison)
    )


def _headline(comparison: Mapping[str, Any]) -> tuple[str, ...]:
    """Which policies meet the constraints; nothing where there are none."""
    rows = [row for row in comparison["rows"] if row["constraints"]]
    met = [row["name"] for row in rows if row["meets"]]
    if not rows:
        return ()
    return (f"All constraints are met by {listed(met)}." if met else "No policy was shown to meet all constraints.",)


def _reasons(row: Mapping[str, Any]) -> str:
    """The sentences that decide it: of a policy that does not meet them, those on what it does not."""
    return " ".join(one["because"] for one in row["constraints"] if one["met"] is row["meets"])


def of_tasks(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """The main figures of tasks that have columns of their own."""
    return {name: main for name, main in comparison["tasks"].items() if name not in HERE}


def _cells(row: Mapping[str, Any], bound: bool, tasks: Sequence[str]) -> Iterator[tuple[str, str]]:
    """By head; the interval of a figure stands behind it under as many spaces as tell it from others."""
    figures = {**row["figures"], **{name: row["tasks"].get(name, NOTHING) for name in tasks}}
    if bound:
        yield "meets", MEETS[row["meets"]] if row["constraints"] else "nothing asked"
    yield "runs", str(row["runs"])
    for spaces, name in enumerate((*differences.MAIN, *tasks)):
        if name in figures:
            yield name, _shown(figures[name])
            yield "95 %" + " " * spaces, span(figures[name]["ci95"]) if figures[name]["ci95"] else UNKNOWN
    yield "epsilon", _epsilon(row.get("guarantee"))
    for name in ("alone", "start", "raw", "frozen", "naive", "retrained"):
        if name in figures:
            yield name, _shown(figures[name])
    seconds, sent, received = (row["cost"].get(name) for name in ("seconds", "bytes_up", "bytes_down"))
    yield "time", UNKNOWN if seconds is None else f"{seconds:.0f} s"
    yield "MB sent", UNKNOWN if sent is None else f"{sent / 1e6:.1f}"
    yield "received", UNKNOWN if received is None else f"{received / 1e6:.1f}"


def _epsilon(guarantee: Mapping[str, Any] | None) -> str:
    """Never without its unit."""
    return UNKNOWN if guarantee is None else f"{guarantee['epsilon']:.3g} per {guarantee['unit'].replace('_', ' ')}"


def _doubt(row: Mapping[str, Any]) -> str:
    doubts = {"inconclusive": row["conclusive"] is False, "lower bound": row["converged"] is False}
    return ", ".join(said for said, holds in doubts.items() if holds)


def table(comparison: Mapping[str, Any]) -> str:
    """A comparison as a Markdown table: the mean over seeds, and their standard deviation where there are several."""
    known = [
        name
        for name in FIGURES
        if any(row["figures"].get(name, {}).get("mean") is not None for row in comparison["rows"])
    ]
    tasks = list(of_tasks(comparison))
    heads = ["scenario", "runs", *known, *tasks, "epsilon", "controls", "converged"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in comparison["rows"]:
        found = [*(row["figures"][name] for name in known), *(row["tasks"].get(name, NOTHING) for name in tasks)]
        figures = [*map(_shown, found), _epsilon(row.get("guarantee"))]
        held = {True: "held", False: "**failed**", None: "-"}[row["conclusive"]]
        end = {True: "yes", False: "**lower bound**", None: "-"}[row.get("converged")]
        lines.append(f"| {' | '.join([row['described'], str(row['runs']), *figures, held, end])} |")
    return "\n".join(lines)


def _utility(result: Mapping[str, Any], level: str) -> Figure | None:
    findings = result["utility"].get("findings")  # a scenario need not measure them
    return findings[level]["mean_auc"] if findings and findings.get(level) else None


def _attack(result: Mapping[str, Any], attacker: str) -> Figure | None:
    """Of those who are asked whose the released films are."""
    asked = [a for a in result["privacy"]["attacks"] if a.get("question", "linkage") == "linkage"]
    return _highest([attack for attack in asked if attack["attacker"] == attacker])


def _highest(entries: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Of all attackers."""
    known: list[Figure] = [one["auc"] for one in entries if one["auc"]["value"] is not None]
    return max(known, key=lambda auc: float(auc["value"]), default=None)


def _guarantee(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The weakest that the runs give; None: one of them gives none."""
    given = [result["privacy"].get("formal") for result in results]
    if not given or not all(given):
        return None
    weakest: Mapping[str, Any] = max(given, key=lambda one: float(one["epsilon"]))
    return {part: weakest[part] for part in ("epsilon", "delta", "unit")}


def _converged(results: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether every run's worst case is more than a lower bound; None: nobody attacked."""
    worst = [result["privacy"]["worst_case"] for result in results if result["privacy"]["worst_case"]]
    return not any(one.get("lower_bound", True) for one in worst) if worst else None


def _over_seeds(found: Sequence[Figure | None]) -> dict[str, Any]:
    """Mean and spread, and an interval that no run's own reaches out of."""
    known = [one for one in found if one is not None and one["value"] is not None]
    values, ends = [one["value"] for one in known], [one["ci95"] for one in known if one.get("ci95")]
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "ci95": [min(low for low, _ in ends), max(high for _, high in ends)]
        if values and len(ends) == len(values)
        else None,
    }


def _cost(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Of one run, on average."""
    costs = [cost for result in results if (cost := result.get("cost"))]
    if not costs:
        return {"seconds": None, "bytes_up": None, "bytes_down": None}
    return {
        "seconds": statistics.fmean(cost["seconds"]["total"] for cost in costs),
        "bytes_up": statistics.fmean(cost["bytes_up"] for cost in costs),
        "bytes_down": statistics.fmean(cost.get("bytes_down", 0) for cost in costs),
    }


def _shown(found: Mapping[str, Any]) -> str:
    spread = "" if found["std"] is None else f" ± {found['std']:.3f}"
    return f"{figure(found['mean'])}{spread}"
