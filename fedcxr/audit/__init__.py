"""How re-identifiable are these anonymised films? The attackers against any anonymiser's folder, with a verdict.

`fedcxr.audit(original=..., released=...)` calls this package, which has the name of what is called.

from fedcxr.audit import Folders, audit

found = audit(Folders("films", "anonymised", "table.csv"))
print(found.verdict.headline)
found.frame()
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fedcxr import __version__
from fedcxr.audit.pairing import Folders, Paired, Progress, read

if TYPE_CHECKING:
    import pandas as pd

    from fedcxr.audit.ladder import Budget, Climbed
    from fedcxr.audit.scoring import Asked
    from fedcxr.audit.verdict import Verdict
    from fedcxr.training.compute import Compute

__all__ = ["Audit", "Folders", "audit"]


@dataclass(frozen=True)
class Audit:
    """What was found: figures as data, in words, and as a page."""

    report: Mapping[str, Any]  # what audit.json holds
    verdict: Verdict
    _paired: Paired
    _climbed: Climbed

    @property
    def asked(self) -> Asked:
        """Whose the films are, and in which fold each was scored."""
        return self._climbed.asked

    def frame(self) -> pd.DataFrame:
        """A row for each question and attacker."""
        import pandas as pd

        rows = [
            {
                "question": question,
                "attacker": one["attacker"],
                "auc": one["auc"]["value"],
                "low": (one["auc"]["ci95"] or (None, None))[0],
                "high": (one["auc"]["ci95"] or (None, None))[1],
                "rank1": one["rank1"],
                "converged": one["converged"],
            }
            for question in ("person", "film")
            for one in self.report[question]["attackers"]
        ]
        return pd.DataFrame(rows)

    def page(self, *, pictures: bool = True) -> str:
        """report.html; with pictures of patients, unless told otherwise."""
        from fedcxr.audit._examples import examples
        from fedcxr.audit.page import page
        from fedcxr.audit.scoring import QUESTIONS

        if not pictures:
            return page(self.report, self._paired, None)
        attack, asked = self._climbed.attack["fused"], self._climbed.asked
        shown = {str(question): examples(attack.scores[question], asked, question) for question in QUESTIONS}
        return page(self.report, self._paired, shown)

    def write(self, folder: Path, *, pictures: bool = True) -> None:
        """report.html and audit.json, for their owner's eyes alone."""
        from fedcxr.storage.disk import write_atomic, write_json

        write_atomic(folder / "report.html", self.page(pictures=pictures).encode())
        write_json(folder / "audit.json", self.report)


def audit(
    folders: Folders,
    *,
    thorough: bool = False,
    seed: int = 0,
    compute: Compute | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    budget: Budget | None = None,
) -> Audit:
    """Attack released films with their originals at hand. Equal films, seed and device give equal figures.

    `workers` are processes; a script that wants several must be one that can be imported.
    """
    from fedcxr.audit import result
    from fedcxr.audit.ladder import QUICK, THOROUGH, climb
    from fedcxr.audit.verdict import verdict
    from fedcxr.training.compute import Compute

    started = time.monotonic()
    told = progress or _silent
    compute = compute or Compute.choose()
    budget = budget or (THOROUGH if thorough else QUICK)
    paired = read(folders, budget.size, told, workers).at_most(budget.films, seed)
    on_device = 1 if compute.device.type == "cuda" else workers  # one device is not shared by processes
    climbed = climb(paired, budget, seed, compute, told, on_device)
    report: dict[str, Any] = {
        "schema": result.SCHEMA,
        "run": {
            "fedcxr": __version__,
            "budget": budget.name,
            "seed": seed,
            "size": budget.size,
            "device": compute.device.type,
            "precision": compute.precision,
        },
        "films": {
            "pairs": len(paired),
            "patients": paired.people,
            "several": paired.several,
            "notes": list(paired.notes),
            "left_out": [asdict(problem) for problem in paired.left_out],
        },
        "person": result.answered(climbed, "person", seed, told),
        "film": result.answered(climbed, "film", seed, told),
        "controls": result.controls(climbed, seed, told),
        "resemblance": result.resemblance(paired),
    }
    found = verdict(report)
    report["verdict"] = {name: list(part) if isinstance(part, tuple) else part for name, part in asdict(found).items()}
    report["run"]["wall_s"] = round(time.monotonic() - started, 1)
    return Audit(report, found, paired, climbed)


def _silent(what: str, done: int, total: int) -> None:
    """For whoever does not want to know."""


class _Called(ModuleType):
    """This package: once it is imported, `fedcxr.audit` is it, and no longer the function of that name."""

    def __call__(self, **folders: Any) -> Any:
        return importlib.import_module("fedcxr.python").audit(**folders)


sys.modules[__name__].__class__ = _Called
