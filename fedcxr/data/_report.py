"""What is in a cohort and what in it cannot be used, for the people who own it: it names their files."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from fedcxr.cohort import SPLITS, Cohort
from fedcxr.data._listing import MISSING, InTable, Problem
from fedcxr.data._prospects import Prospects
from fedcxr.data._vocabulary import Meaning, mapping_table
from fedcxr.errors import DataError

NAME = 32  # letters of a finding's name in the text
WIDTH = 100  # of the text
NAMED = "`fedcxr data check` names them"
SHOWN = 20  # unusable files in the text; JSON has all


@dataclass(frozen=True)
class Report:
    """The outcome of looking at every film."""

    source: str
    size: tuple[int, int]  # height and width of a packed film
    films: int  # that can be used
    patients: int
    splits: Mapping[str, Mapping[str, int]]  # films and patients of each
    findings: Mapping[str, Mapping[str, int]]  # films that show it, do not, or do not tell
    annotations: Mapping[str, int]  # films that have one: a mask of this organ, or a box
    mapping: tuple[Meaning, ...]  # what the source calls each finding of the vocabulary and of its own
    problems: tuple[Problem, ...]  # films that cannot be used
    notes: tuple[Problem, ...]  # what is odd in the table but may be used, or was allowed to be missing
    warnings: tuple[str, ...]
    audit: Prospects  # what an attack and a measure of usefulness would have to go by
    table: InTable | None = None  # what the table names; None: nothing but what is there
    read: tuple[str, ...] = ()  # how the table was read where nobody said how
    max_bad: int = 0

    @property
    def usable(self) -> bool:
        return bool(self.films) and len(self.problems) <= self.max_bad

    @property
    def left_out(self) -> dict[str, int]:
        """Unusable films by the kind of reason, most frequent first. Names no file."""
        return dict(Counter(problem.reason.partition(":")[0] for problem in self.problems).most_common())

    def demand(self, named: str = NAMED) -> None:
        """Raise unless the cohort may be used. The error may travel to another machine, so it names no file.

        `named` says where files are.
        """
        if not self.films:
            told = _told(self.left_out) or "no film at all"
            do = f"{named}; root, images and columns.image say where films lie"
            raise DataError("not one film can be used", given=told, do=do)
        if not self.usable:
            raise too_many(self.left_out, self.max_bad, named)

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "usable": self.usable}, indent=1)

    def to_text(self) -> str:
        extent = f"{self.size[0]} x {self.size[1]} pixels"
        lines = [f"{self.source}: {self.films} films of {self.patients} patients, {extent}"]
        if self.table is not None and self.table.films != self.films:
            lines.append(f"the table names {self.table.films} films of {self.table.patients} patients")
        lines += self.read
        lines.append("")
        lines += [f"{'split':{NAME}}{'films':>10}{'patients':>10}"]
        lines += [f"{name:{NAME}}{of['films']:>10}{of['patients']:>10}" for name, of in self.splits.items()]
        lines += ["", f"{'finding':{NAME}}{'yes':>10}{'no':>10}{'unknown':>10}"]
        lines += [
            f"{n[: NAME - 1]:{NAME}}{of['yes']:>10}{of['no']:>10}{of['unknown']:>10}" for n, of in self.findings.items()
        ]
        if self.annotations:
            told = ", ".join(f"{name} on {films}" for name, films in self.annotations.items())
            lines += ["", f"films annotated: {told}"]
        if mapped := self._mapped():
            lines += ["", *mapped]
        lines += ["", "what an audit would go by", *self.audit.to_lines()]
        if self.warnings:
            lines += ["", *(f"warning: {warning}" for warning in self.warnings)]
        if self.problems:
            counted = f"{len(self.problems)} unusable ({_told(self.left_out)}), {self.max_bad} allowed"
            lines += ["", counted, *_listed(self.problems)]
        if self.notes:
            lines += ["", f"{len(self.notes)} notes on the table", *_listed(self.notes)]
        return "\n".join(lines)

    def _mapped(self) -> list[str]:
        """Names that are not the vocabulary's, or that mean more than a like one, and what nobody looked for."""
        told = [str(meaning) for meaning in self.mapping if meaning.spellings and str(meaning) != meaning.finding]
        unknown = ", ".join(meaning.finding for meaning in self.mapping if not meaning.spellings)
        lines = ["finding <- as the source writes it", *(f"  {line}" for line in told)] if told else []
        said = f"not looked for, so unknown: {unknown}"
        return lines + (textwrap.wrap(said, WIDTH, subsequent_indent="  ") if unknown else [])


def report(
    source: str,
    size: tuple[int, int],
    index: pd.DataFrame,
    findings: Sequence[str],
    problems: Sequence[Problem] = (),
    *,
    spellings: Mapping[str, str] | None = None,
    annotations: Mapping[str, int] = MappingProxyType({}),
    notes: Sequence[Problem] = (),
    table: InTable | None = None,
    read: Sequence[str] = (),
    doubts: Sequence[str] = (),
    max_bad: int = 0,
) -> Report:
    """Count what is in an index of usable films."""
    by_split = index.groupby("split")["patient"].agg(["size", "nunique"])
    splits = {
        str(name): {"films": int(by_split["size"].get(name, 0)), "patients": int(by_split["nunique"].get(name, 0))}
        for name in (*SPLITS, *sorted(set(by_split.index) - set(SPLITS)))
    }
    audit = Prospects.of(index, findings)
    counts = {finding: _counts(index[finding].to_numpy(dtype=np.float32)) for finding in findings}
    return Report(
        source=source,
        size=size,
        films=len(index),
        patients=int(index["patient"].nunique()),
        splits=splits,
        findings=counts,
        annotations=dict(annotations),
        mapping=mapping_table({name: name for name in findings} if spellings is None else spellings),
        problems=tuple(problems),
        notes=tuple(notes),
        warnings=(*_warnings(splits, counts), *doubts, *(audit.doubts if len(index) else ())),
        audit=audit,
        table=table,
        read=tuple(read),
        max_bad=max_bad,
    )


def report_of(source: str, cohort: Cohort) -> Report:
    """Count what is in a cohort that is there already, such as a rendered one."""
    annotations: dict[str, int] = {organ: int(cohort.masked(organ).sum()) for organ in cohort.annotations.masks}
    if "boxes" in cohort.annotations.names:
        annotations["boxes"] = cohort.boxes()["film"].nunique()
    return report(source, cohort.size, cohort.index, cohort.findings, annotations=annotations)


def too_many(left_out: Mapping[str, int], max_bad: int, named: str = NAMED) -> DataError:
    """The error of films that cannot be used, by reason and without their names."""
    go_on = "raise max_bad to go on without them"
    if set(left_out) == {MISSING}:
        way_out = f"complete the folder, or {go_on} (nih and chexpert: allow_missing=true)"
    else:
        way_out = f"repair or remove them, or {go_on}"
    return DataError(
        "films cannot be used",
        given=f"{sum(left_out.values())}: {_told(left_out)}",
        allowed=f"at most {max_bad} (max_bad)",
        do=f"{named}; {way_out}",
    )


def _told(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())


def _listed(problems: Sequence[Problem]) -> list[str]:
    lines = [f"  {problem.file}: {problem.reason}" for problem in problems[:SHOWN]]
    more = len(problems) - SHOWN
    return lines if more <= 0 else [*lines, f"  ... and {more} more; --format json lists all"]


def _counts(labels: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, int]:
    unknown = int(np.isnan(labels).sum())
    yes = int((labels == 1).sum())
    return {"yes": yes, "no": len(labels) - yes - unknown, "unknown": unknown}


def _warnings(splits: Mapping[str, Mapping[str, int]], findings: Mapping[str, Mapping[str, int]]) -> list[str]:
    found = []
    empty = [name for name, of in splits.items() if not of["films"]]
    if empty:
        found.append(f"no films in {', '.join(empty)}")
    never = [name for name, of in findings.items() if not of["yes"] and of["no"]]
    if never:
        found.append(f"no film shows {', '.join(never)}")
    untold = [name for name, of in findings.items() if not of["yes"] and not of["no"]]
    if untold:
        found.append(f"unknown for every film: {', '.join(untold)}")
    return found
