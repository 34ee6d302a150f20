"""Evidence made up by hand, for tests of tasks: films, what was released of them, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from fedcxr.cohort import SPLITS, Cohort
from fedcxr.methods.none import Unprotected
from fedcxr.rng import stream
from fedcxr.tasks import Evidence
from fedcxr.view import View


def evidence(
    clean: np.ndarray,
    released: np.ndarray,
    labels: np.ndarray,  # (n, k)
    split: Sequence[int],  # (n,) index into SPLITS
    findings: tuple[str, ...] = ("Mass",),
    patients: Sequence[str] | None = None,
    **changes: Any,
) -> Evidence:
    """Every film was released in its place, by a method that learns nothing, and everything is open."""
    n = len(clean)
    table = {
        "image": [f"{row}.png" for row in range(n)],
        "patient": [f"p{row}" for row in range(n)] if patients is None else list(patients),
        "split": [SPLITS[number] for number in split],
        **{name: labels[:, column] for column, name in enumerate(findings)},
    }
    index = pd.DataFrame(table).assign(visit=0, view="PA", age=50, sex="F", source="s")
    nothing = np.zeros(n, dtype=np.int64)
    told: dict[str, Any] = {
        "view": View({"films": released}, np.ones(n, dtype=np.bool_), nothing),
        "labels": labels,
        "split": np.array(split, dtype=np.int8),
        "findings": findings,
        "origin": np.arange(n),
        "cohort": Cohort.whole(clean, index, findings),
        "versions": nothing,
        "sites": np.full(n, "s", dtype=object),
        "released_by": np.full(n, "s", dtype=object),
        "method": Unprotected(),
    }
    return Evidence(**{**told, **changes})


def squares(films: int = 240, split: list[int] | None = None) -> Evidence:
    """Squares in two corners are two findings; a third finding is too rare to be measured. Releases are clean."""
    rng = stream(1, "toy findings")
    labels = (rng.random((films, 3)) < 0.4).astype(np.float32)
    labels[:, 2] = 0.0
    clean = rng.integers(0, 100, size=(films, 16, 16), dtype=np.uint8)
    clean[labels[:, 0] == 1, 2:8, 2:8] += 120
    clean[labels[:, 1] == 1, 8:14, 8:14] += 120
    labels[::9, 1] = np.nan
    return evidence(
        clean,
        clean.copy(),
        labels,
        [SPLITS.index("test" if i % 3 == 0 else "train") for i in range(films)] if split is None else split,
        ("Upper", "Lower", "Rare"),
        [f"p{i // 2}" for i in range(films)],
    )


def showing(given: Evidence, forms: dict[str, np.ndarray], opened: np.ndarray | None = None) -> Evidence:
    """The same evidence of which its recipient sees something else."""
    return replace(given, view=replace(given.view, forms=forms, opened=given.view.opened if opened is None else opened))
