"""Results as objects: the main figures as attributes, all of them as a frame, and what a notebook shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcxr.errors import ConfigError
from fedcxr.python import _html
from fedcxr.runs.comparison import NOTHING, of_tasks
from fedcxr.runs.differences import MAIN
from fedcxr.runs.figures import figures
from fedcxr.verdict import Figure

if TYPE_CHECKING:
    import pandas as pd

    from fedcxr.audit import Audit

UNKNOWN = Figure(None)


@dataclass(frozen=True)
class Site:
    """What became of one hospital."""

    name: str
    status: str  # ok | dropped | refused
    reason: str | None
    patients: int | None
    released: int | None


@dataclass(frozen=True)
class Attacker:
    """One attacker's figure, and whether it proves anything."""

    question: str
    adversary: str
    attacker: str
    auc: Figure
    conclusive: bool | None
    inconclusive_because: str | None
    converged: bool | None


@dataclass(frozen=True)
class Guarantee:
    """A formal guarantee, with the unit that it protects."""

    epsilon: float
    delta: float
    unit: str
    accountant: str


@dataclass(frozen=True)
class Result:
    """A run that is done: what result.json in its folder says."""

    folder: Path
    document: Mapping[str, Any] = field(repr=False)

    @property
    def method(self) -> str:
        return str(self.document["run"]["method"])

    @property
    def seed(self) -> int:
        return int(self.document["run"]["seed"])

    @property
    def sites(self) -> tuple[Site, ...]:
        names = ("name", "status", "reason", "patients", "released")
        return tuple(Site(**{name: site.get(name) for name in names}) for site in self.document["sites"])

    @property
    def utility(self) -> Mapping[str, Any]:
        """By task, as result.json has it."""
        return dict(self.document["utility"])

    def useful(self, arm: str = "trained") -> Figure:
        """The mean AUC of the findings: `trained`, `trained_released`, `frozen`, or `raw`: nothing is protected."""
        told = (self.document["utility"].get("findings") or {}).get(arm)
        return UNKNOWN if told is None else Figure.of(told["mean_auc"])

    @property
    def worst_case(self) -> Figure:
        """How well the best attacker links films to people; a figure without a value if nobody was asked."""
        worst = self.document["privacy"]["worst_case"]
        return UNKNOWN if worst is None else Figure.of(worst["auc"])

    @property
    def attackers(self) -> tuple[Attacker, ...]:
        """All that have an AUC, whatever they were asked."""
        sections = [told for told in self.document["privacy"].values() if isinstance(told, list)]
        entries = [one for section in sections for one in section if "attacker" in one and "question" in one]
        return tuple(
            Attacker(
                one["question"],
                one["adversary"],
                one["attacker"],
                Figure.of(one["auc"]),
                one.get("conclusive"),
                one.get("inconclusive_because"),
                one.get("converged"),
            )
            for one in entries
            if "auc" in one
        )

    @property
    def formal(self) -> Guarantee | None:
        told = self.document["privacy"]["formal"]
        return told and Guarantee(told["epsilon"], told["delta"], told["unit"], told["accountant"])

    @property
    def cost(self) -> Mapping[str, Any]:
        return dict(self.document["cost"])

    def dpia(self) -> dict[str, Any]:
        """What a data-protection officer asks for: singling out, linkability and inference, with residual risks."""
        from fedcxr.report import dpia

        return dpia.assess([self.document])

    def frame(self) -> pd.DataFrame:
        """A row for each figure: its name, its value, and the ends of its 95 % interval."""
        rows = [
            {"figure": name, "value": one.value, "low": one.low, "high": one.high}
            for name, one in figures(self.document).items()
        ]
        return _frame(rows)

    def pictures(self) -> tuple[Path, ...]:
        """Those in the run's folder: films before and after, matches, courses of learning."""
        return tuple(sorted((self.folder / "pictures").glob("*.png")))

    def _repr_html_(self) -> str:
        return _html.page(
            f"{self.method}, seed {self.seed}",
            ("", "AUC", "95 % interval"),
            [
                ("findings, learnt from what was shared", *_html.shown(self.useful())),
                ("findings, nothing protected", *_html.shown(self.useful("raw"))),
                ("the best attacker", *_html.shown(self.worst_case)),
            ],
            self.pictures(),
        )


@dataclass(frozen=True)
class Arm:
    """One policy of a study: by what it differs, its figures over seeds, and whether it meets the constraints."""

    name: str
    differs: Mapping[str, Any]
    figures: Mapping[str, Figure]
    tasks: Mapping[str, Figure]  # the main one of each that was measured
    conclusive: bool | None
    meets: bool | None  # None: it cannot be told
    constraints: tuple[Mapping[str, Any], ...]  # each with `met`, `value` and, in words, `because`
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class StudyResult:
    """A study's comparison: what study.json in its folder says."""

    folder: Path
    document: Mapping[str, Any] = field(repr=False)

    @property
    def arms(self) -> tuple[Arm, ...]:
        return tuple(
            Arm(
                row["name"],
                row["differs"],
                _over_seeds(row["figures"]),
                _over_seeds({task: row["tasks"].get(task, NOTHING) for task in self.document["tasks"]}),
                row["conclusive"],
                row["meets"],
                tuple(row["constraints"]),
                tuple(map(Path, row["folders"])),
            )
            for row in self.document["rows"]
        )

    def results(self) -> tuple[Result, ...]:
        """Every run of it that is done."""
        from fedcxr.runs.stored import Stored

        done = [folder for arm in self.arms for folder in arm.folders if (folder / "result.json").is_file()]
        return tuple(Result(one.folder, one.result) for one in map(Stored.read, done))

    def frame(self) -> pd.DataFrame:
        """A row for each policy: its keys, and the mean of each figure and of each task's main one, with intervals."""
        rows = [
            {"policy": arm.name, "meets": arm.meets, **arm.differs}
            | {
                column: value
                for name, one in {**arm.figures, **self._of_tasks(arm)}.items()
                for column, value in {name: one.value, f"{name} low": one.low, f"{name} high": one.high}.items()
            }
            | {"conclusive": arm.conclusive}
            for arm in self.arms
        ]
        return _frame(rows)

    def _repr_html_(self) -> str:
        shown = [{name: arm.figures[name] for name in MAIN} | self._of_tasks(arm) for arm in self.arms]
        names = [name for name in (shown[0] if shown else ()) if any(one[name].value is not None for one in shown)]
        rows = [
            (arm.name, *(_html.shown(one[name])[0] for name in names))
            for arm, one in zip(self.arms, shown, strict=True)
        ]
        return _html.page(str(self.document["study"]), ("policy", *names), rows)

    def _of_tasks(self, arm: Arm) -> dict[str, Figure]:
        """Those that are not among the figures of an arm already."""
        return {task: arm.tasks[task] for task in of_tasks(self.document)}


@dataclass(frozen=True)
class AuditResult:
    """What became of somebody's anonymised films: what audit.json says; `folder` is None where nothing was written."""

    folder: Path | None
    document: Mapping[str, Any] = field(repr=False)
    _audit: Audit = field(repr=False)

    @property
    def headline(self) -> str:
        return str(self.document["verdict"]["headline"])

    @property
    def sentences(self) -> Sequence[str]:
        return tuple(self.document["verdict"]["sentences"])

    @cached_property
    def page(self) -> str:
        """report.html, with pictures of patients."""
        return self._audit.page()

    def frame(self) -> pd.DataFrame:
        """A row for each question and attacker."""
        _demand_pandas()
        return self._audit.frame()

    def _repr_html_(self) -> str:
        return _html.page(self.headline, (), [(sentence,) for sentence in self.sentences])


def _over_seeds(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    return {name: Figure(one["mean"], *(one["ci95"] or ())) for name, one in found.items()}


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    _demand_pandas()
    import pandas as pd

    return pd.DataFrame(rows)


def _demand_pandas() -> None:
    try:
        import pandas  # noqa: F401  to see whether it can be
    except ImportError as error:
        raise ConfigError("a frame needs pandas", given=str(error), do='pip install "fedcxr[notebook]"') from None
