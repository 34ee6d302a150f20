"""The parts of stored documents that a report is read from: what is of another shape cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pydantic


class _Part(pydantic.BaseModel):
    """What stands beside these fields is nobody's business here."""

    model_config = pydantic.ConfigDict(extra="ignore", allow_inf_nan=False)


def _says(what: str, default: Any = ...) -> Any:
    """A field, and what it is for whoever reads the document."""
    return pydantic.Field(default, description=what)


class Figure(_Part):
    """A number with its interval."""

    value: float | None = _says("null: unknown, which is not 0")
    ci95: tuple[float, float] | None = _says("by bootstrap over patients", None)


class Point(_Part):
    """What a budget was worth."""

    budget: float = _says("steps, or a share of them")
    auc: float | None = _says("what was reached with it")


class Attack(_Part):
    """One attacker's entry, of any question."""

    question: str = _says("what was asked", "linkage")
    adversary: str = _says("who was asked")
    attacker: str = _says("in which way it tried")
    auc: Figure | None = _says("how often the right one of two was picked", None)
    conclusive: bool | None = _says("whether its controls held", None)
    inconclusive_because: str | None = _says("which control failed, and what to do", None)
    converged: bool | None = _says("whether it had stopped rising; null: nobody asked", None)
    effort: bool | None = _says("false: it takes no steps, and has no effort that could be raised", None)
    curve: tuple[Point, ...] | None = _says("what it reached on the way", None)
    rank1: float | None = _says("share of releases whose first guess was right", None)
    tpr_at_fpr: dict[str, float | None] | None = _says("share of right pairs found, by the false alarms allowed", None)


class Linkage(Attack):
    """Of who is found again."""

    auc: Figure
    conclusive: bool


class Worst(_Part):
    """The worst case of all."""

    question: str = "linkage"
    adversary: str
    attacker: str
    auc: Figure = _says("the highest of all attackers whose controls held")
    lower_bound: bool = _says("whether somebody was still rising", True)
    conclusive: bool = _says("whether any attacker's controls held")


class Formal(_Part):
    """What is guaranteed."""

    epsilon: float = _says("how much likelier any outcome may be, as a power of e")
    delta: float = _says("the chance that it is more")
    unit: str = _says("whose presence is hidden: record, patient, site or pixel_neighbourhood")


class Privacy(_Part):
    """Of all attackers."""

    attacks: tuple[Linkage, ...] = _says("whose films were released")
    membership: tuple[Linkage, ...] = _says("who was learnt from", ())
    recovery: tuple[Attack, ...] = _says("what films looked like", ())
    worst_case: Worst | None = _says("null: nobody attacked")
    formal: Formal | None = _says("null: nothing is guaranteed")


class Arm(_Part):
    """How good a classifier was."""

    mean_auc: Figure = _says("mean over the findings that can be scored")
    per_finding: dict[str, Figure | None] = _says("by finding", {})


class Findings(_Part):
    """Of each arm."""

    trained: Arm | None = _says("trained on what was released, used on clean films", None)
    trained_released: Arm | None = _says("trained on what was released, used on released films", None)
    frozen: Arm | None = _says("trained on clean films, used on released ones", None)
    raw: Arm | None = _says("nothing protected: the ceiling", None)


class Utility(_Part):
    """Of all tasks."""

    findings: Findings | None = None


class Run(_Part):
    """Which run."""

    id: str = _says("method and fingerprint of the scenario")
    method: str
    seed: int


class Site(_Part):
    """One hospital."""

    name: str
    status: str = _says("ok, dropped or refused")
    patients: int | None = None


class Seconds(_Part):
    """Time."""

    total: float


class Cost(_Part):
    """What it took."""

    bytes_up: float = _says("by all sites, in all rounds")
    bytes_down: float = _says("to all sites", 0)
    peak_rss_mb: float | None = _says("most memory at once", None)
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


class Main(_Part):
    """The main figure of a task."""

    path: str
    name: str
    says: str


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
    tasks: dict[str, Main] = {}
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...] = ()
    other_differences: tuple[Difference, ...] | None = _says("of pairs that are not shown; null: too many", ())


def result(document: object) -> Mapping[str, Any]:
    """The document itself, if it is one."""
    Result.model_validate(document)
    return cast("Mapping[str, Any]", document)


def figure(document: object) -> dict[str, Any]:
    """A figure with its interval; of what was not measured, both unknown."""
    return Figure.model_validate({"value": None} if document is None else document).model_dump(mode="json")


def comparison(document: object) -> Mapping[str, Any]:
    """The same of study.json."""
    Comparison.model_validate(document)
    return cast("Mapping[str, Any]", document)
