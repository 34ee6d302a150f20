"""Which findings of its films a hospital lets out: words that everybody knows, unless it lists others itself.

A column of findings is released as it is called. Where a table has names in it, names would be findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedcxr.cohort import Cohort
from fedcxr.data._vocabulary import VOCABULARY, canonical
from fedcxr.errors import ConfigError


def released(cohort: Cohort, allowed: Sequence[str] | None) -> Cohort:
    """The same films, of which nothing is known but these findings; None: those of the shared vocabulary."""
    listed = VOCABULARY if allowed is None else tuple(canonical(name) for name in allowed)
    ours = {canonical(finding) for finding in cohort.findings}
    missing = [name for name in listed if name not in ours and name not in VOCABULARY]
    if missing:
        raise ConfigError(
            "profile: findings that neither the films nor the vocabulary have",
            given=", ".join(missing),
            allowed=", ".join(sorted({*VOCABULARY, *ours})),
        )
    kept = tuple(finding for finding in cohort.findings if canonical(finding) in listed)
    boxes = cohort.annotations.boxes
    if boxes is not None:
        boxes = boxes[boxes["finding"].map(canonical).isin(listed)].reset_index(drop=True)
    return replace(
        cohort,
        index=cohort.index.drop(columns=[finding for finding in cohort.findings if finding not in kept]),
        findings=kept,
        annotations=replace(cohort.annotations, boxes=boxes),
    )
