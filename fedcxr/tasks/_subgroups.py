"""Is a classifier as good for women as for men, for the old as for the young, and at every hospital?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fedcxr.metrics import scored_findings
from fedcxr.rng import stream
from fedcxr.tasks import Bools
from fedcxr.tasks._findings import Scored, figures_of

SEXES = ("F", "M")
AGES = {"under 40": (0.0, 40.0), "40 to 64": (40.0, 65.0), "65 and over": (65.0, math.inf)}  # years

Groups = Mapping[str, Mapping[str, Bools]]  # by what they are told apart, and by name: which films are of one


def groups_of(index: pd.DataFrame) -> Groups:
    """The films of women and men, of ages and of hospitals; who is of none is unknown."""
    sex, source = (index[column].to_numpy(dtype=object) for column in ("sex", "source"))
    age = index["age"].to_numpy(dtype=np.float64)
    return {
        "sex": {name: np.asarray(sex == name) for name in SEXES},
        "age": {name: (age >= low) & (age < high) for name, (low, high) in AGES.items()},
        "site": {str(name): np.asarray(source == name) for name in sorted(set(source))},
    }


def subgroups(one: Scored, groups: Groups, seed: int, bootstraps: int, min_positives: int) -> dict[str, Any]:
    """Mean AUC of each group, over the findings that can be scored in all groups of its kind, and which is the worst.

    What tells films of fewer than two groups apart is left out.
    """
    told: dict[str, Any] = {}
    for kind, named in groups.items():
        there = {name: rows for name, rows in named.items() if rows.any()}
        if len(there) < 2:
            continue
        scored = np.all([scored_findings(one.labels[rows], min_positives) for rows in there.values()], axis=0)
        found = {
            name: {
                "films": int(rows.sum()),
                "patients": len(set(one.patients[rows])),
                "mean_auc": figures_of(
                    _part(one, rows, scored), stream(seed, "findings", kind, name), bootstraps, min_positives
                )["mean_auc"],
            }
            for name, rows in there.items()
        }
        values = {name: group["mean_auc"]["value"] for name, group in found.items()}
        worst = min(values, key=lambda name: values[name]) if scored.any() else None
        told[kind] = {"findings": int(scored.sum()), "worst": worst, "groups": found}
    return told


def _part(one: Scored, films: Bools, findings: Bools) -> Scored:
    names = tuple(name for name, use in zip(one.findings, findings, strict=True) if use)
    return Scored(one.labels[films][:, findings], one.scores[films][:, findings], one.patients[films], names)


def in_words(told: Mapping[str, Any]) -> tuple[str, ...]:
    """The worst and the best group of each kind, for people: a line each."""
    return tuple(
        f"trained, by {kind}: worst {_named(groups[0])}, best {_named(groups[-1])} (over {one['findings']} findings)"
        for kind, one in told.items()
        if one["worst"] is not None
        and (groups := sorted(one["groups"].items(), key=lambda group: group[1]["mean_auc"]["value"]))
    )


def _named(group: tuple[str, Mapping[str, Any]]) -> str:
    return f"{group[0]} {group[1]['mean_auc']['value']:.3f}"
