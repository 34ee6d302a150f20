"""One vocabulary of findings, so that a consortium can mix NIH, CheXpert and its own folders.

A finding a source never looked for is unknown (NaN) there, not absent. Names are taken for the same finding only where
the sources mean the same: CheXpert's Lung Lesion is a nodule *or* a mass, so it says nothing about either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import FINDINGS, Cohort
from fedcxr.errors import DataError

# What CheXpert looks for beyond NIH's findings, under names of the same style.
EXTRAS = (
    "Enlarged_Cardiomediastinum",
    "Fracture",
    "Lung_Lesion",
    "Lung_Opacity",
    "Pleural_Other",
    "Support_Devices",
)
VOCABULARY = (*FINDINGS, *EXTRAS)

# Other spellings of the same finding; case, spaces, underscores and hyphens never matter.
ALIASES: Mapping[str, str] = {
    "Infiltrate": "Infiltration",  # NIH's own table of boxes
    "Infiltrates": "Infiltration",
    "Pleural Effusion": "Effusion",  # CheXpert, MIMIC-CXR
    "Pulmonary Edema": "Edema",
    "Oedema": "Edema",
    "Pulmonary Oedema": "Edema",
    "Airspace Opacity": "Lung_Opacity",  # MIMIC-CXR
    "Support Device": "Support_Devices",
}

# Why a near name is kept apart; printed with the mapping.
APART: Mapping[str, str] = {
    "Enlarged_Cardiomediastinum": "wider than Cardiomegaly, which is not implied",
    "Lung_Lesion": "a nodule or a mass: Nodule and Mass stay unknown",
    "Lung_Opacity": "many causes: Infiltration stays unknown",
    "Pleural_Other": "more than Pleural_Thickening, which stays unknown",
}


def canonical(name: str) -> str:
    """The vocabulary's name for a finding; one it does not know keeps its own."""
    return _SPELLINGS.get(_plain(name), name)


def harmonised(names: Iterable[str]) -> dict[str, str]:
    """Each name of a source and the vocabulary's name for it; two names for one finding are an error."""
    mapping = {name: canonical(name) for name in names}
    first: dict[str, str] = {}
    for name, ours in mapping.items():
        if first.setdefault(ours, name) != name:
            raise DataError("two columns are the same finding", given=f"{first[ours]}, {name}", do="keep one of them")
    return mapping


def union(*findings: Iterable[str]) -> tuple[str, ...]:
    """All findings of several sources: NIH's first, then the other known ones, then the sources' own by name."""
    named = {canonical(name) for names in findings for name in names}
    return (*(name for name in VOCABULARY if name in named), *sorted(named.difference(VOCABULARY)))


def align(index: pd.DataFrame, findings: Sequence[str], vocabulary: Sequence[str]) -> pd.DataFrame:
    """The index with the columns of a vocabulary instead of its own; what was never looked for is NaN."""
    mapping = harmonised(findings)
    lost = [name for name, ours in mapping.items() if ours not in vocabulary]
    if lost:
        raise DataError("the vocabulary lacks findings of this source", given=", ".join(lost), do="take their union")
    own = {ours: index[name].to_numpy(dtype=np.float32) for name, ours in mapping.items()}
    unknown = np.full(len(index), np.nan, dtype=np.float32)
    aligned = pd.DataFrame({name: own.get(name, unknown) for name in vocabulary}, index=index.index)
    return pd.concat([index.drop(columns=list(findings)), aligned], axis=1)


def align_cohort(cohort: Cohort, vocabulary: tuple[str, ...]) -> Cohort:
    """A site's cohort in a consortium's vocabulary; no pixel is copied."""
    boxes = cohort.annotations.boxes
    if boxes is not None:
        boxes = boxes.assign(finding=boxes["finding"].map(canonical))
    return replace(
        cohort,
        index=align(cohort.index, cohort.findings, vocabulary),
        findings=vocabulary,
        annotations=replace(cohort.annotations, boxes=boxes),
    )


def known_by(cohort: Cohort, findings: tuple[str, ...]) -> npt.NDArray[np.float32]:  # (n, k) of 0, 1 or NaN
    """What a site knows of each of these findings, in this order; what it never looked for is unknown."""
    aligned = align_cohort(cohort, union(findings, cohort.findings))
    return aligned.index[[canonical(finding) for finding in findings]].to_numpy(dtype=np.float32)


@dataclass(frozen=True)
class Meaning:
    """What a source says of one finding."""

    finding: str
    spellings: tuple[str, ...]  # its columns or words for it; none: it never looked for it
    remark: str

    def __str__(self) -> str:
        said = "" if self.spellings in ((), (self.finding,)) else f" <- {', '.join(self.spellings)}"
        return f"{self.finding}{said}{self.remark and f'  ({self.remark})'}"


def mapping_table(spellings: Mapping[str, str]) -> tuple[Meaning, ...]:
    """For `data check`: what a source calls each finding of the vocabulary, and which it has of its own."""
    ours = {finding: tuple(name for name, of in spellings.items() if of == finding) for finding in spellings.values()}
    remarks = {**dict.fromkeys(ours, "of its own"), **dict.fromkeys(VOCABULARY, ""), **APART}
    return tuple(Meaning(f, ours.get(f, ()), remarks[f] if f in ours else "") for f in union(VOCABULARY, ours))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


_SPELLINGS = {_plain(name): name for name in VOCABULARY} | {_plain(other): name for other, name in ALIASES.items()}
