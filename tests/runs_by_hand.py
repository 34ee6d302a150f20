"""Run folders as a study leaves them, with results that were written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results_by_hand import figure, linking, result

from fedcxr.storage.version import code_version

Told = dict[str, Any]
FINDINGS = ("Effusion", "Mass")


def whole(
    method: str = "noise",
    seed: int = 0,
    useful: float = 0.8,
    risk: float = 0.7,
    findings: Sequence[str] = FINDINGS,
    site: str = "site-1",
    **entry: Any,
) -> Told:
    """A result with all that a report reads: one attacker, whose figure and interval are `risk`."""
    attack = linking(
        figure(risk, risk - 0.05, min(risk + 0.05, 1.0)),
        control_raw_auc=0.97,
        control_shuffled_auc=0.51,
        smallest_auc=0.55,
        curve=[{"budget": 100, "auc": risk - 0.1}, {"budget": 200, "auc": risk}],
        **entry,
    )
    told = result(seed=seed, method={"name": method}, attacks=[attack])
    told["run"] |= {"id": f"{method}-0123", "method": method}
    told["scenario"] |= {"cohort": {"source": "phantom"}, "sites": 1}
    told["environment"] = {"fedcxr": "0.1.0", "torch": "2"}
    told["sites"][0]["name"] = site
    arm = {
        "mean_auc": figure(useful, useful - 0.02, useful + 0.02),
        "per_finding": {name: figure(useful, useful - 0.1, useful + 0.1) for name in findings},
    }
    told["utility"] = {"findings": {"trained": arm, "trained_released": None, "frozen": None, "raw": arm}}
    told["utility"] |= {"segmentation": outlined(useful + 0.1), "texture": textured(useful - 0.1)}
    told["privacy"]["worst_case"] = {
        **{part: attack[part] for part in ("question", "adversary", "attacker", "auc", "converged", "conclusive")},
        "lower_bound": attack["converged"] is not True,
    }
    told["cost"] = {"bytes_up": 2e6, "bytes_down": 1e3, "peak_rss_mb": 512.0, "seconds": {"total": 60.0}}
    return told


def outlined(dice: float) -> Told:
    """What `segmentation` measured, where its networks do equally well on all films."""
    areas = ("jaccard", "false_negatives", "false_positives")
    distances = ("surface_mean", "surface_std", "hausdorff", "hausdorff_95")
    others = {name: figure(0.5) for name in (*areas, *distances)}
    arm = {"dice": figure(dice, dice - 0.01, dice + 0.01), **others, "films": 9, "nothing_found": 0}
    kinds = {kind: {"clean": arm, "released": arm, "unauthorised": None} for kind in ("clean", "released")}
    left = {"train": {"without_mask": 0, "empty_mask": 0}}
    return {**kinds, "unauthorised": None, "guess": {**arm, "dice": figure(0.4)}, "side": 64, "left_out": left}


def textured(icc: float) -> Told:
    """What `texture` measured of one family of features."""
    some = {"mean_icc": figure(icc, icc - 0.1, icc + 0.1), "excellent": figure(0.25), "median_are": 0.5}
    some["classes"] = {"poor": 3, "fair": 0, "good": 0, "excellent": 1}
    alone = {"families": {"glcm": some}, "constant": [], "without_mask": 0, "inside": "lungs", "films": 9}
    return {**some, **alone, "frd": {"value": None, "floor": None}, "unauthorised": None}


def put(study: Path, told: Mapping[str, Any], code: str | None = None) -> Path:
    """A finished run's folder below a study's."""
    folder = study / f"{told['run']['id']}-{told['run']['seed']}"
    folder.mkdir(parents=True)
    versions = {"fedcxr": code or code_version()}
    (folder / "run.json").write_text(json.dumps({"format": 2, "versions": versions}))
    (folder / "result.json").write_text(json.dumps(told))
    return folder


def row(folders: Sequence[Path], name: str, meets: bool | None, **differs: Any) -> Told:
    """Of study.json."""
    because = {True: "0.7 is at or below 0.75", False: "0.7 is above 0.6", None: "0.7; 0.72 lies within"}[meets]
    return {
        "differs": differs,
        "described": name,
        "name": name,
        "runs": len(folders),
        "figures": {},
        "folders": [str(folder) for folder in folders],
        "meets": meets,
        "constraints": [
            {"constraint": "privacy.worst_case.auc <= 0.6", "met": meets, "value": 0.7, "because": because}
        ],
    }


def compared(study: Path, rows: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]] = ()) -> None:
    """study.json."""
    told = {"schema": 1, "study": study.name, "seeds": [0], "rows": list(rows), "differences": list(differences)}
    (study / "study.json").write_text(json.dumps(told))


def three(study: Path, name: str = "noise .1", site: str = "site-1") -> Path:
    """A study of three policies: one that meets its constraint, one that breaks it, one of which nobody can tell."""
    good = put(study, whole("sealed", useful=0.83, risk=0.52, site=site))
    bad = put(study, whole("none", useful=0.84, risk=0.94))
    doubtful = put(
        study, whole("noise", useful=0.7, risk=0.6, conclusive=False, inconclusive_because="too few", converged=False)
    )
    compared(
        study,
        [
            row([good], "sealed", True, **{"knowledge.own_films.people": 100}),
            row([bad], "nothing protected", False, **{"knowledge.own_films.people": 200}),
            row([doubtful], name, None, **{"knowledge.own_films.people": 400}),
        ],
        [
            {
                "figure": "trained",
                "left": "sealed",
                "right": "nothing protected",
                "difference": figure(-0.01, -0.03, 0.01),
                "p": 0.3,
                "p_adjusted": 0.6,
                "told": False,
                "patients_needed": 4000,
            }
        ],
    )
    return study
