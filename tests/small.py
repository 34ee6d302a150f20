"""A scenario small enough to run whole in a few seconds; its figures mean nothing, its bytes do."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "name": "small",
    "sites": 3,
    "cohort": {"source": "phantom", "patients": 60, "size": 32},
    "method": {"name": "noise", "scale": 0.1},
    "tasks": {"findings": {"steps": 12, "batch": 16, "width": 4, "min_positives": 2, "bootstraps": 100}},
    "adversaries": {"verifier": {"steps_clean": 12, "steps_retrain": 8, "width": 4, "people": 8}},
    "compute": {"device": "cpu", "precision": "fp32", "timeout_s": 120.0},
}


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What of a result must not depend on how it was run: all but times, sizes of processes and the engine."""

    def timeless(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in entry.items() if k != "seconds"} for entry in entries]

    sections = {k: timeless(v) if isinstance(v, list) else v for k, v in result["privacy"].items()}
    return {
        "utility": result["utility"],
        "privacy": sections,
        "sites": timeless(result["sites"]),
        "bytes": result["cost"]["bytes_up"],
    }
