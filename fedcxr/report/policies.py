"""One policy of a report: what its runs say of usefulness, risk and cost, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcxr.errors import one_line
from fedcxr.report import dpia
from fedcxr.report._pooled import UNKNOWN, attackers, findings, others, pooled
from fedcxr.report.reading import Read
from fedcxr.report.usefulness import FIRST, about, measured

ARMS = ("trained", "trained_released", "frozen", "raw")
JUDGED = ("trained", "trained_released", "frozen")  # a policy's usefulness is the first of these that it has


def policy(
    row: Mapping[str, Any] | None, read: Sequence[Read], study: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """From its row of study.json, if it has one, and from its results; there is one at least of both."""
    results = [one.result for one in read]
    told = attackers(results)
    arms = {arm: pooled(_mean(result, arm) for result in results) for arm in ARMS}
    judged = next((arm for arm in JUDGED if arms[arm]["value"] is not None), None)
    assessment, unassessed = _assessed(results)
    tasks, unread = measured(results, study)
    main = about(FIRST, study)
    return {
        "name": _name(row, results),
        "differs": dict(row["differs"]) if row else {},
        "runs": len(results),
        "wanted": len(row["folders"]) if row else len(results),
        "seeds": [result["run"]["seed"] for result in results],
        "meets": row.get("meets") if row else None,
        "constraints": [dict(one) for one in row.get("constraints") or ()] if row else [],
        "utility": {
            "task": FIRST,
            "name": main["name"],
            "figure": f"utility.{FIRST}.{main['path']}",
            "arm": judged,
            **(arms[judged] if judged else UNKNOWN),
        },
        "tasks": tasks,
        "unread": unread,
        "arms": arms,
        "findings": {arm: findings(results, arm) for arm in ARMS},
        "risk": _risk(results, told),
        "holder": _holder(results),
        "attackers": told,
        "others": others(results),
        "membership": _membership(results),
        "formal": _formal(results),
        "cost": _cost(results),
        "knowledge": dict(results[0]["scenario"]["knowledge"]) if results else {},
        "films": sum(site.get("released") or 0 for site in results[0]["sites"]) if results else None,
        "assessment": assessment,
        "unassessed": unassessed,
        "provenance": [_provenance(one) for one in read],
    }


def _assessed(results: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any] | None, str | None]:
    """For a data-protection officer, or why that cannot be: results of other code may lack what it is read from."""
    if not results:
        return None, "no result is on file"
    try:
        return dpia.assess(results), None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return None, f"its results are of another shape ({type(error).__name__}: {one_line(error, 80)})"


def _name(row: Mapping[str, Any] | None, results: Sequence[Mapping[str, Any]]) -> str:
    if row is not None:
        return str(row.get("name") or row["described"])
    return str(results[0]["run"]["method"])


def _mean(result: Mapping[str, Any], arm: str) -> Mapping[str, Any] | None:
    told = (result["utility"].get("findings") or {}).get(arm)
    return told["mean_auc"] if told else None


def _risk(results: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The worst case over all attackers, as each run tells it; of a model, over whoever tells members."""
    worst = [result["privacy"]["worst_case"] for result in results if result["privacy"]["worst_case"]]
    if worst:
        highest = max(worst, key=lambda one: one["auc"]["value"] or 0.0)
        return {
            "question": highest.get("question", "linkage"),
            "attacker": f"{highest['adversary']}, {highest['attacker']}",
            **pooled(one["auc"] for one in worst),
            "lower_bound": any(one.get("lower_bound", True) for one in worst),
            "conclusive": all(one["conclusive"] for one in worst) and len(worst) == len(results),
        }
    members = [one for one in told if one["auc"]["value"] is not None]
    if not members:
        return {"question": None, "attacker": None, **UNKNOWN, "lower_bound": True, "conclusive": False}
    best = max(members, key=lambda one: float(one["auc"]["value"]))
    return {
        "question": best["question"],
        "attacker": f"{best['adversary']}, {best['attacker']}",
        **best["auc"],
        "lower_bound": best["converged"] is not True,
        "conclusive": all(one["conclusive"] for one in members),
    }


def _holder(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Where there are keys, whoever holds some and finds most; what holds without a key does not hold for them."""
    found = [
        one
        for result in results
        for one in result["privacy"].get("recipients") or ()
        if one.get("role") != "adversary" and (one.get("auc") or UNKNOWN)["value"] is not None
    ]
    best = max(found, key=lambda one: float(one["auc"]["value"]), default=None)
    if best is None:
        return None
    told = str(best["name"])
    name = f"{told}, which was granted keys," if best["role"] == "reader" else f"whoever has the keys of {told}"
    same = [one["auc"] for one in found if (one["role"], one["name"]) == (best["role"], best["name"])]
    return {"name": name, "auc": pooled(same)}


def _membership(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The highest bound on epsilon that answers proved, which is no guarantee."""
    bounds = [
        bound
        for result in results
        for entry in result["privacy"].get("membership") or ()
        if (bound := entry.get("epsilon_at_least"))
    ]
    if not bounds:
        return None
    highest = max(bounds, key=lambda one: float(one["value"]))
    return {part: highest.get(part) for part in ("value", "provable", "unit", "confidence")}


def _formal(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The weakest that the runs give; None: one of them gives none."""
    given = [result["privacy"]["formal"] for result in results]
    if not given or not all(given):
        return None
    weakest = max(given, key=lambda one: float(one["epsilon"]))
    return {part: weakest.get(part) for part in ("epsilon", "delta", "unit", "accountant")}


def _cost(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of one run, on average; of memory, the most."""
    costs = [result["cost"] for result in results]
    peaks = [one["peak_rss_mb"] for one in costs if one.get("peak_rss_mb") is not None]
    return {
        "seconds": pooled({"value": one["seconds"]["total"]} for one in costs)["value"],
        "bytes_up": pooled({"value": one["bytes_up"]} for one in costs)["value"],
        "bytes_down": pooled({"value": one.get("bytes_down")} for one in costs)["value"],
        "peak_rss_mb": max(peaks, default=None),
    }


def _provenance(read: Read) -> dict[str, Any]:
    run, environment = read.result["run"], read.result["environment"]
    return {
        "folder": read.folder.name,
        "id": run["id"],
        "seed": run["seed"],
        "engine": run.get("engine"),
        "preset": run.get("preset"),
        "device": run.get("device"),
        "result_sha256": read.digest,
        "code_sha256": read.code,
        "code_unknown_because": read.code_unknown,
        "of_other_code": read.of_other_code,
        "versions": {name: environment[name] for name in sorted(environment)},
        "command": f"fedcxr simulate {Path(read.folder.name) / 'scenario.yaml'}",
    }
