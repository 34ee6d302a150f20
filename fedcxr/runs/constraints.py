"""What a policy must keep to: bounds of figures in result.json, judged never better than the figures are.

`PATH >= NUMBER`, also with <=, < or >. A figure with an interval keeps to a bound if all of the interval does, breaks
it if none of it does, and otherwise it cannot be told. What an attacker reached is the least that is given away unless
its controls held and it had stopped rising, or has no effort that could be raised: the least can break an upper bound,
and never keep to one. Nor does a guarantee per film or per pixel say what holds per patient. Where nothing is
guaranteed, a bound of the guarantee is broken. What is unknown is never good news.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from fedcxr.errors import ConfigError
from fedcxr.scenario import Scenario
from fedcxr.verdict import ended

FORM = re.compile(
    r"\s*(?P<path>[^\s<>=]+)\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*", re.ASCII
)
LONGEST = 200  # characters
KEEPS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SIDES = {
    ">=": ("at or above", "below"),
    "<=": ("at or below", "above"),
    ">": ("above", "at or below"),
    "<": ("below", "at or above"),
}  # in words: kept to, broken
FORMAL = "privacy.formal"
WORST = "privacy.worst_case.auc"
ALWAYS = (
    *(f"cost.{name}" for name in ("bytes_up", "bytes_down", "peak_rss_mb")),
    *(f"cost.seconds.{name}" for name in ("release", "utility", "attack", "total")),
    *(f"{FORMAL}.{name}" for name in ("epsilon", "delta")),
    WORST,
    "privacy.label_floor.auc",
)
OF_PATIENTS = ("patient", "site")  # units of a guarantee that hold for all that a patient gave
NEAREST = 3  # names that an error suggests


@dataclass(frozen=True)
class Constraint:
    """A bound of one figure."""

    path: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a line of a study file."""
        found = FORM.fullmatch(text) if len(text) <= LONGEST else None
        if found is None or not math.isfinite(float(found["bound"])) or not all(found["path"].split(".")):
            raise ConfigError(
                "this is no constraint",
                given=text,
                allowed="a figure of result.json, one of >=, <=, <, > and a number",
                do='such as "utility.findings.trained.mean_auc >= 0.78"',
            )
        return cls(found["path"], found["sign"], float(found["bound"]))

    def __str__(self) -> str:
        return f"{self.path} {self.sign} {self.bound:g}"

    def keeps(self, value: float) -> bool:
        return KEEPS[self.sign](value, self.bound)

    @property
    def upper(self) -> bool:
        """Whether low figures keep to it."""
        return self.sign in ("<=", "<")


def known(scenario: Scenario) -> set[str]:
    """The figures that the results of a scenario have and that a bound can be set to; `*` stands for any one name."""
    found = set(ALWAYS)
    for name, task in scenario.tasks.items():
        found |= {f"utility.{name}.{path}" for path in task.bounds}
    for question in scenario.questions.values():
        found |= {f"privacy.{question.section}.{path}" for path in question.bounds}
    return found


def check(constraints: Iterable[Constraint], figures: Iterable[str]) -> None:
    """Refuse a bound of what no result has, with the names that come nearest."""
    figures = sorted(figures)
    for constraint in constraints:
        if not any(_is(constraint.path, figure) for figure in figures):
            near = difflib.get_close_matches(constraint.path, figures, n=NEAREST, cutoff=0.5)
            raise ConfigError(
                "a constraint on a figure that these results do not have, or have without an interval",
                given=constraint.path,
                allowed=", ".join(near or figures),
                do=f"did you mean {near[0]!r}?" if near else None,
            )


def _is(path: str, figure: str) -> bool:
    parts, pattern = path.split("."), figure.split(".")
    return len(parts) == len(pattern) and all(b in ("*", a) for a, b in zip(parts, pattern, strict=True))


# What a result says ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """A figure in one result, and between which ends it lies: what is exact, at one place."""

    value: float | None
    low: float | None = None
    high: float | None = None
    exact: bool = False
    unit: str = ""  # of a guarantee
    least: str | None = None  # why it may be more in truth; None: it is what it says
    effortless: bool = False  # of an attacker that has no effort to raise

    def keeps(self, constraint: Constraint) -> bool | None:
        """Whether it keeps to the bound; None: that cannot be told."""
        if self.low is None or self.high is None:
            return None
        kept = constraint.keeps(self.low), constraint.keeps(self.high)
        if kept[0] != kept[1]:
            return None
        good_if_more = not constraint.upper
        return kept[0] if self.least is None or kept[0] is good_if_more else None


def look(result: Mapping[str, Any], path: str) -> list[Found]:
    """A figure of a result, or one of each attacker where attackers are listed; none where it has not been measured."""
    return list(_below(result, path.split("."), None, path))


def _below(node: Any, parts: Sequence[str], attack: Mapping[str, Any] | None, path: str) -> Iterator[Found]:
    if isinstance(node, list | tuple):
        for one in node:
            yield from _below(one, parts, one if isinstance(one, Mapping) else attack, path)
        return
    if isinstance(node, Mapping) and "conclusive" in node:
        attack = node
    if parts:
        yield from _below(node.get(parts[0]), parts[1:], attack, path) if isinstance(node, Mapping) else ()
    elif isinstance(node, Mapping) and node.get("value") is not None:
        low, high = node.get("ci95") or (None, None)
        attack = attack if path.startswith("privacy.") else None
        effortless = attack is not None and attack.get("effort") is False
        yield Found(node["value"], low, high, least=_least(attack), effortless=effortless)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield Found(node, node, node, exact=True)


def _least(attack: Mapping[str, Any] | None) -> str | None:
    """Why an attacker may reach more than it did."""
    if attack is None:
        return None
    if attack.get("conclusive") is not True:
        return "a control of the attack failed" if "conclusive" in attack else "the attack has no control"
    if ended(attack) is False:
        return "the attacker was still rising when it was stopped"
    if ended(attack) is None:
        return "nobody measured whether more effort would find more"
    return "another attacker still rises" if attack.get("lower_bound") else None


def _guarantee(result: Mapping[str, Any], path: str) -> Found | None:
    """Of a guarantee, None: nothing is guaranteed."""
    formal = result["privacy"].get("formal")
    if formal is None:
        return None
    value, unit = formal[path.rpartition(".")[2]], formal["unit"]
    least = None if unit in OF_PATIENTS else "what it is per patient nobody knows"
    return Found(value, value, value, exact=True, unit=f" per {unit.replace('_', ' ')}", least=least)


# What that means for a policy -----------------------------------------------------------------------------------------


def judged(constraints: Sequence[Constraint], results: Sequence[Mapping[str, Any]], runs: int) -> list[dict[str, Any]]:
    """What is to be said of each constraint, by the results that there are of so many runs."""
    return [_judged(constraint, results, runs) for constraint in constraints]


def meets(judgements: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether a policy meets all of its constraints; None: it has none, or that cannot be told."""
    found = [one["met"] for one in judgements]
    if False in found:
        return False
    return None if not found or None in found else True


def _judged(constraint: Constraint, results: Sequence[Mapping[str, Any]], runs: int) -> dict[str, Any]:
    met, value, because = _judgement(constraint, results, runs)
    return {"constraint": str(constraint), "met": met, "value": value, "because": f"{constraint.path} {because}."}


def _judgement(
    constraint: Constraint, results: Sequence[Mapping[str, Any]], runs: int
) -> tuple[bool | None, float | None, str]:
    if not results:
        return None, None, "is unknown: no run is on file"
    if constraint.path.startswith(f"{FORMAL}."):
        guarantees = [_guarantee(result, constraint.path) for result in results]
        if None in guarantees:
            return False, None, "does not exist: nothing is guaranteed"
        every = [[one] for one in guarantees if one is not None]
    else:
        every = [look(result, constraint.path) for result in results]
    if not all(every):
        return None, None, "has not been measured" + ("" if not any(every) else " in every run")
    by_run = [_of_run([one.keeps(constraint) for one in found]) for found in every]
    worst = [_worst(found, constraint) for found in every]
    values = [one.value for one in worst if one.value is not None]
    value = statistics.fmean(values)
    shown = _shown(value, worst)
    right, wrong = SIDES[constraint.sign]
    strict = constraint.path.startswith("privacy.") or all(one.exact for one in worst)
    if False in by_run if strict else set(by_run) == {False}:
        where = "" if all(met is False for met in by_run) else f" in {by_run.count(False)} of {len(by_run)} runs"
        return False, value, f"is {shown}, {wrong} {constraint.bound:g}{where}"
    if None in by_run or False in by_run:
        return None, value, f"is {shown}; {_why_not(constraint, every, by_run)}"
    if len(results) < runs:
        missing = runs - len(results)
        return None, value, f"is {shown}, {right} {constraint.bound:g}, but {missing} of {runs} runs are not on file"
    at_once = constraint.upper and any(one.effortless for found in every for one in found)
    why = "; who takes no steps has no effort to raise" if at_once else ""
    return True, value, f"is {shown}, {right} {constraint.bound:g}{why}"


def _of_run(kept: Sequence[bool | None]) -> bool | None:
    """Of all attackers: one that breaks a bound breaks it for all."""
    return False if False in kept else None if None in kept else True


def _worst(found: Sequence[Found], constraint: Constraint) -> Found:
    """The farthest on the wrong side."""
    choose = max if constraint.upper else min
    return choose(found, key=lambda one: one.value or 0.0)


def _shown(value: float, worst: Sequence[Found]) -> str:
    """The mean over runs, and between which ends the runs' own intervals lie."""
    mean = " on average" if len(worst) > 1 else ""
    if all(one.exact for one in worst):
        return f"{value:.4g}{worst[0].unit}{mean}"
    ends = [(one.low, one.high) for one in worst if one.low is not None and one.high is not None]
    if len(ends) < len(worst):
        return f"{value:.3f}{mean} (interval unknown)"
    return f"{value:.3f}{mean} ({min(low for low, _ in ends):.3f} to {max(high for _, high in ends):.3f})"


def _why_not(constraint: Constraint, every: Sequence[Sequence[Found]], by_run: Sequence[bool | None]) -> str:
    """What keeps one from telling."""
    doubtful = [one for found in every for one in found if one.keeps(constraint) is None]
    if any(one.low is None for one in doubtful):
        return "there are too few patients for an interval"
    if any(constraint.keeps(one.low or 0.0) != constraint.keeps(one.high or 0.0) for one in doubtful):
        return f"{constraint.bound:g} lies within"
    if doubtful:
        return f"that is the least it can be: {doubtful[0].least}"
    return f"{by_run.count(True)} of {len(by_run)} runs keep to {constraint.bound:g}, and the others do not"
