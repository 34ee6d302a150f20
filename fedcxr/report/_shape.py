"""The parts of stored documents that a report is read from: what is of another shape cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pydantic


class _Part(pydantic.BaseModel):
    """What stands beside these fields is nobody's business here."""

    model_config = pydantic.ConfigDict(extra="ignore", allow_inf_nan=False)


class Figure(_Part):
    """A number with its interval."""

    value: float | None
    ci95: tuple[float, float] | None = None


class Point(_Part):
    """What a budget was worth."""

    budget: float
    auc: float | None


class Attack(_Part):
    """One attacker's entry, of any question."""

    question: str = "linkage"
    adversary: str
    attacker: str
    auc: Figure | None = None
    conclusive: bool | None = None
    inconclusive_because: str | None = None
    converged: bool | None = None
    curve: tuple[Point, ...] | None = None
    rank1: float | None = None
    tpr_at_fpr: dict[str, float | None] | None = None


class Linkage(Attack):
    """Of who is found again."""

    auc: Figure
    conclusive: bool


class Worst(_Part):
    """The worst case of all."""

    question: str = "linkage"
    adversary: str
    attacker: str
    auc: Figure
    lower_bound: bool = True
    conclusive: bool


class Formal(_Part):
    """What is guaranteed."""

    epsilon: float
    delta: float
    unit: str


class Privacy(_Part):
    """Of all attackers."""

    attacks: tuple[Linkage, ...]
    membership: tuple[Linkage, ...] = ()
    recovery: tuple[Attack, ...] = ()
    worst_case: Worst | None
    formal: Formal | None


class Arm(_Part):
    """How good a classifier was."""

    mean_auc: Figure
    per_finding: dict[str, Figure | None] = {}


class Findings(_Part):
    """Of each arm."""

    trained: Arm | None = None
    trained_released: Arm | None = None
    frozen: Arm | None = None
    raw: Arm | None = None


class Utility(_Part):
    """Of all tasks."""

    findings: Findings | None = None


class Run(_Part):
    """Which run."""

    id: str
    method: str
    seed: int


class Site(_Part):
    """One hospital."""

    name: str
    status: str
    patients: int | None = None


class Seconds(_Part):
    """Time."""

    total: float


class Cost(_Part):
    """What it took."""

    bytes_up: float
    bytes_down: float = 0
    peak_rss_mb: float | None = None
    seconds: Seconds


class Scenario(_Part):
    """What was run."""

    name: str
    method: dict[str, Any]
    knowledge: dict[str, Any]
    cohort: dict[str, Any] | None = None


class Result(_Part):
    """result.json."""

    run: Run
    scenario: Scenario
    environment: dict[str, Any]
    sites: tuple[Site, ...]
    utility: Utility
    privacy: Privacy
    cost: Cost


class Pooled(_Part):
    """A figure over seeds."""

    mean: float | None
    std: float | None = None
    ci95: tuple[float, float] | None = None


class Judged(_Part):
    """A constraint, and whether it is met."""

    constraint: str
    met: bool | None
    value: float | None
    because: str


class Row(_Part):
    """One policy."""

    described: str
    differs: dict[str, Any]
    runs: int
    figures: dict[str, Pooled]
    folders: tuple[str, ...]
    constraints: tuple[Judged, ...] = ()
    meets: bool | None = None


class Difference(_Part):
    """Between two policies."""

    figure: str
    left: str
    right: str
    difference: Figure
    p: float | None
    p_adjusted: float | None
    told: bool
    patients_needed: int | None = None


class Comparison(_Part):
    """study.json."""

    study: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...] = ()


def result(document: object) -> Mapping[str, Any]:
    """The document itself, if it is one."""
    Result.model_validate(document)
    return cast("Mapping[str, Any]", document)


def comparison(document: object) -> Mapping[str, Any]:
    """The same of study.json."""
    Comparison.model_validate(document)
    return cast("Mapping[str, Any]", document)
