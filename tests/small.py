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
    sites = [{k: v for k, v in site.items() if k != "seconds"} for site in result["sites"]]
    attacks = [{k: v for k, v in attack.items() if k != "seconds"} for attack in result["privacy"]["attacks"]]
    return {
        "utility": result["utility"],
        "privacy": {**result["privacy"], "attacks": attacks},
        "sites": sites,
        "bytes": result["cost"]["bytes_up"],
    }
