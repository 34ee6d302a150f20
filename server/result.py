"""result.json, as it is promised to scripts, and the versions behind it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import fedcxr
from fedcxr.knowledge.keys import Keys
from fedcxr.learning import Guarantee
from fedcxr.runs import SCHEMA
from fedcxr.scenario import Scenario
from server import scorer
from server.recipients import recipients

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute
    from server.meter import Meter


@dataclass(frozen=True)
class Measured:
    """All that was found out about a run."""

    sites: Sequence[Mapping[str, Any]]  # of result.json
    traffic: Mapping[str, int]  # bytes up and down
    utility: Mapping[str, Mapping[str, Any]]  # per task: what was measured, and its seconds
    attacks: Sequence[Mapping[str, Any]]  # per adversary: its attackers' entries, and its seconds
    guarantee: Guarantee | None
    beside: Mapping[str, Any]  # figures of `privacy` that need no adversary
    access: Mapping[str, Any] | None  # who may read what; None: the method has no keys
    release_s: float
    compute: Compute


def document(scenario: Scenario, measured: Measured, engine: str, meter: Meter) -> dict[str, Any]:
    """All that was found out, in the promised form."""
    seconds = {
        "release": measured.release_s,
        "utility": sum(outcome["seconds"] for outcome in measured.utility.values()),
        "attack": sum(outcome["seconds"] for outcome in measured.attacks),
        "total": meter.seconds(),
    }
    figures = {task: outcome["measured"] for task, outcome in measured.utility.items()}
    sections = _sections(scenario, measured)
    leaked = cast(Keys, scenario.knowledge["keys"]).leaked(scenario.site_names)
    return {
        "schema": SCHEMA,
        "run": {
            "id": scenario.id,
            "method": scenario.method.plugin_name(),
            "seed": scenario.seed,
            "engine": engine,
            "preset": scenario.preset,
            "device": measured.compute.device.type,
            "wall_s": round(seconds["total"], 3),
            "complete": True,
        },
        "scenario": scenario.told(),
        "environment": environment(measured.compute.precision),
        "sites": list(measured.sites),
        "utility": {"findings": None, "fidelity": None} | figures,
        "access": measured.access,
        "privacy": {
            **sections,
            "worst_case": scorer.worst_case(sections["attacks"]),
            "label_floor": None,
            **measured.beside,
            "recipients": recipients(sections["attacks"], measured.access, measured.sites, leaked),
            "formal": measured.guarantee.model_dump() if measured.guarantee else None,
        },
        "cost": {
            **measured.traffic,
            "peak_rss_mb": meter.peak_mb(),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        },
    }


def _sections(scenario: Scenario, measured: Measured) -> dict[str, list[Mapping[str, Any]]]:
    """Every attacker's entry, in the section of the question that it answers; empty where there was nothing to ask."""
    sections: dict[str, list[Mapping[str, Any]]] = {"attacks": [], "recovery": [], "same_film": []}
    sections |= {question.section: [] for question in scenario.questions.values()}
    for outcome in measured.attacks:
        for section, entries in outcome["entries"].items():
            sections.setdefault(section, []).extend(entries)
    return sections


def environment(precision: str) -> dict[str, Any]:
    """The versions behind a result."""
    return {
        "fedcxr": fedcxr.__version__,
        **{package: _version(package) for package in ("torch", "flwr", "ray", "numpy")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "precision": precision,
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout we run from, with a plus sign if it was changed; None for an installed package."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--match="],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None
