"""What the runs of a study say beside each other: means over seeds, how sure they are, and what they cost."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcxr.runs import Run
from fedcxr.runs.study import Study
from fedcxr.storage.disk import read_json, write_atomic, write_json
from fedcxr.table import Row, Table, figure, span

Figure = Mapping[str, Any]  # as results hold them: value and ci95

# What is compared: the name of a column, and where its figure lies in a result.
FIGURES: Mapping[str, Callable[[Mapping[str, Any]], Figure | None]] = {
    "raw": lambda result: _utility(result, "raw"),
    "frozen": lambda result: _utility(result, "frozen"),
    "trained": lambda result: _utility(result, "trained"),
    "naive": lambda result: _attack(result, "naive"),
    "retrained": lambda result: _attack(result, "retrained"),
    "worst": lambda result: (result["privacy"]["worst_case"] or {"auc": None})["auc"],
}
NOTES = (
    "raw, frozen, trained: mean AUC of the findings; raw: nothing is protected",
    "naive, retrained, worst: AUC of whoever links films to known people; worst: of all attackers",
    "figures: mean over the runs, and ± its standard deviation; intervals: 95 %, the widest that the runs give",
)


def compare(study: Study, out: Path) -> dict[str, Any]:
    """What this code's runs on file say: per cell each figure's mean and spread over seeds, and if controls held."""
    rows = []
    for cell in study.cells():
        runs = [Run.place(out, cell.scenario(seed)) for seed in study.seeds]
        results = [result for run in runs if (result := run.own_result) is not None]
        attacks = [attack for result in results for attack in result["privacy"]["attacks"]]
        rows.append(
            {
                "differs": dict(cell.differs),
                "described": cell.described(),
                "runs": len(results),
                "figures": {name: _over_seeds([look(r) for r in results]) for name, look in FIGURES.items()},
                "conclusive": all(attack["conclusive"] for attack in attacks) if attacks else None,
                "converged": _converged(results),
                "cost": _cost(results),
                "folders": [str(run.folder) for run in runs],
            }
        )
    return {"schema": 1, "study": study.name, "seeds": list(study.seeds), "rows": rows}


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
    figures = [f"{name} {part}" for name in FIGURES for part in parts]
    yield ["scenario", *keys, "runs", *figures, "controls held", "converged", "seconds", "bytes_up", "folders"]
    for row in rows:
        found = [row["figures"][name] for name in FIGURES]
        cells = [cell for one in found for cell in (one["mean"], one["std"], *(one["ci95"] or (None, None)))]
        yield [
            row["described"],
            *(row["differs"].get(key) for key in keys),
            row["runs"],
            *cells,
            row["conclusive"],
            row["converged"],
            *row["cost"].values(),
            " ".join(row["folders"]),
        ]


def load(folder: Path) -> dict[str, Any]:
    """A stored comparison."""
    found: dict[str, Any] = read_json(folder / "study.json")
    return found


def screen(comparison: Mapping[str, Any], folder: Path) -> Table:
    """A comparison for a terminal: first what matters most, which a narrow one shows in its first block."""
    heads = ("runs", "trained", "95 %", "worst", "95 %", "raw", "frozen", "naive", "retrained", "time", "MB sent")
    rows = [Row(row["described"], tuple(_cells(row)), _doubt(row)) for row in comparison["rows"]]
    notes = (*NOTES, f"runs are below {folder}; study.csv there says which is which, with all figures")
    return Table(str(comparison["study"]), heads, tuple(rows), notes)


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    figures = row["figures"]
    yield str(row["runs"])
    for name in ("trained", "worst"):
        yield _shown(figures[name])
        yield span(figures[name]["ci95"])
    for name in ("raw", "frozen", "naive", "retrained"):
        yield _shown(figures[name])
    seconds, sent = row["cost"]["seconds"], row["cost"]["bytes_up"]
    yield "unknown" if seconds is None else f"{seconds:.0f} s"
    yield "unknown" if sent is None else f"{sent / 1e6:.1f}"


def _doubt(row: Mapping[str, Any]) -> str:
    doubts = {"inconclusive": row["conclusive"] is False, "lower bound": row["converged"] is False}
    return ", ".join(said for said, holds in doubts.items() if holds)


def table(comparison: Mapping[str, Any]) -> str:
    """A comparison as a Markdown table: the mean over seeds, and their standard deviation where there are several."""
    heads = ["scenario", "runs", *FIGURES, "controls", "converged"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in comparison["rows"]:
        figures = [_shown(row["figures"][name]) for name in FIGURES]
        held = {True: "held", False: "**failed**", None: "-"}[row["conclusive"]]
        end = {True: "yes", False: "**lower bound**", None: "-"}[row.get("converged")]
        lines.append(f"| {' | '.join([row['described'], str(row['runs']), *figures, held, end])} |")
    return "\n".join(lines)


def _utility(result: Mapping[str, Any], level: str) -> Figure | None:
    findings = result["utility"].get("findings")  # a scenario need not measure them
    return findings[level]["mean_auc"] if findings and findings[level] else None


def _attack(result: Mapping[str, Any], attacker: str) -> Figure | None:
    """Of those who are asked whose the released films are."""
    asked = [a for a in result["privacy"]["attacks"] if a.get("question", "linkage") == "linkage"]
    found: list[Figure] = [a["auc"] for a in asked if a["attacker"] == attacker and a["auc"]["value"] is not None]
    return max(found, key=lambda auc: float(auc["value"]), default=None)


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
        return {"seconds": None, "bytes_up": None}
    return {
        "seconds": statistics.fmean(cost["seconds"]["total"] for cost in costs),
        "bytes_up": statistics.fmean(cost["bytes_up"] for cost in costs),
    }


def _shown(found: Mapping[str, Any]) -> str:
    spread = "" if found["std"] is None else f" ± {found['std']:.3f}"
    return f"{figure(found['mean'])}{spread}"
