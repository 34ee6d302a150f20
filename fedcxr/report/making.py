"""A report: all that a folder of runs says, as one document, one page, and tables for papers and spreadsheets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcxr.errors import DataError
from fedcxr.report import dpia, pictures, tables
from fedcxr.report.answer import answer
from fedcxr.report.frontier import dominated
from fedcxr.report.page import page
from fedcxr.report.policies import policy
from fedcxr.report.reading import Shelf
from fedcxr.report.usefulness import about, judge
from fedcxr.report.words import threat
from fedcxr.storage.disk import explained, write_atomic
from fedcxr.storage.private import private_folder
from fedcxr.storage.version import code_version

SCHEMA = 1
OTHER_CODE = "made by another version of the code than the one that writes this report"


@dataclass(frozen=True)
class Report:
    """What was read, before it is written."""

    document: Mapping[str, Any]  # report.json
    shown: Mapping[str, Sequence[pictures.Picture]]  # by policy

    @property
    def lacking(self) -> Sequence[str]:
        """What could not be read, a line each."""
        lacking: Sequence[str] = self.document["lacking"]
        return lacking

    def write(self, out: Path) -> Path:
        """The page and all that goes with it, for their owner's eyes; returns where the page is."""
        with explained(out):
            out.mkdir(parents=True, exist_ok=True)
            private_folder(out / "tables")
        place = out / "report.html"
        write_atomic(place, page(self.document, self.shown).encode())
        _write(out / "report.json", self.document)
        assessments = {p["name"]: p["assessment"] for p in self.document["policies"] if p["assessment"] is not None}
        single = self.document["single"] and len(assessments) == 1
        _write(out / "dpia.json", next(iter(assessments.values())) if single else {"policies": assessments})
        for table in tables.of(self.document):
            write_atomic(out / "tables" / f"{table.name}.csv", tables.csv(table).encode())
            write_atomic(out / "tables" / f"{table.name}.tex", tables.latex(table).encode())
        return place

    def complain(self) -> None:
        """Raise if anything could not be read: the report that was written is not all there could be."""
        if self.lacking:
            raise DataError(
                "the report was written, without what could not be read",
                given=f"{self.lacking[0]}{f' (and {len(self.lacking) - 1} more)' if len(self.lacking) > 1 else ''}",
                do="the page lists all of it",
            )


def report(folder: Path, with_pictures: bool | None = None) -> Report:
    """Of a run's folder or a study's. Pictures of real patients are shown only where that is asked for."""
    document, shown = _read(folder, with_pictures)
    return Report(json.loads(document), shown)


def _read(folder: Path, with_pictures: bool | None) -> tuple[str, dict[str, Sequence[pictures.Picture]]]:
    """The document as text: of hundreds of policies, what it was made of is forgotten before anything is drawn."""
    shelf = Shelf.open(folder)
    policies: list[dict[str, Any]] = []
    shown: dict[str, Sequence[pictures.Picture]] = {}
    for row, read in shelf.policies():
        if row is None and not read:
            continue
        one = policy(row, read, shelf.study)
        one["name"] = _unlike(str(one["name"]), [other["name"] for other in policies])
        if read and one["unassessed"]:
            shelf.lacking.append(f"{one['name']} has no assessment: {one['unassessed']}")
        shelf.lacking += one["unread"]
        policies.append(one)
        if with_pictures is not False and read and (with_pictures or read[0].made_up):
            shown[one["name"]] = pictures.of(read[0].folder)
    if not any(one["runs"] for one in policies):
        raise DataError(
            "there is no result to report on",
            given=shelf.lacking[0] if shelf.lacking else folder,
            do="let a run end first: the command that began it, with --resume",
        )
    names = dict.fromkeys(task for one in policies for task in one["tasks"])
    tasks = {task: about(task, shelf.study) for task in names}
    judge(policies, tasks)
    for one, by in zip(policies, dominated(policies), strict=True):
        one["dominated_by"] = by
    document = {
        "schema": SCHEMA,
        "single": shelf.single,
        "title": str(shelf.study["study"]) if shelf.study else _title(policies, folder),
        "answer": answer(policies, single=shelf.single),
        "tasks": tasks,
        "policies": policies,
        "differences": [dict(one) for one in (shelf.study or {}).get("differences") or ()],
        "other_differences": (shelf.study or {}).get("other_differences", []),
        "threat": _threats(policies),
        "lacking": shelf.lacking,
        "other_code": _of_other_code(policies),
        "code_sha256": code_version(),
        "pictures_of_patients": bool(with_pictures) and any(shown.values()),
    }
    return json.dumps(_unsaid(document)), {_unsaid(name): told for name, told in shown.items()}


def _write(path: Path, document: object) -> None:
    """In one line: of hundreds of policies, indenting takes longer than all the rest."""
    write_atomic(path, json.dumps(document, allow_nan=False).encode() + b"\n")


def _title(policies: Sequence[Mapping[str, Any]], folder: Path) -> str:
    return str(policies[0]["name"]) if len(policies) == 1 else folder.resolve().name


def _unlike(name: str, others: Sequence[str]) -> str:
    """Names of policies are keys of the page."""
    number, told = 1, name
    while told in others:
        number += 1
        told = f"{name} ({number})"
    return told


def _threats(policies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What attackers were granted, once for all policies of which the same holds."""
    whose: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for one in policies:
        if one["runs"]:
            key = json.dumps(one["knowledge"], sort_keys=True)
            whose.setdefault(key, (one["knowledge"], []))[1].append(one["name"])
    return [{"policies": names, "told": threat(knowledge)} for knowledge, names in whose.values()]


def _of_other_code(policies: Sequence[Mapping[str, Any]]) -> str | None:
    runs = [run for one in policies for run in one["provenance"]]
    others = sum(run["of_other_code"] for run in runs)
    return f"{others} of {len(runs)} results were {OTHER_CODE}." if others else None


def _unsaid(value: Any) -> Any:
    """Without a word that no measurement can prove, whoever wrote it into a name or a note."""
    if isinstance(value, str):
        return dpia.NEVER_SAID.sub("[...]", value)
    if isinstance(value, Mapping):
        return {_unsaid(str(key)): _unsaid(one) for key, one in value.items()}
    return [_unsaid(one) for one in value] if isinstance(value, list | tuple) else value
