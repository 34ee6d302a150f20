"""What wrong labels cost and how much of it comes back, of a finished study: a table with each share recovered.

fedcxr study configs/studies/label-noise.yaml --out runs
scripts/evidence label_noise runs/label-noise
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from fedcxr.storage.disk import read_json

HEADS = ("labels", "mean AUC", "95 % of the first seed", "cost won back", "mean rates told", "findings left alone")


def main() -> None:
    """Print one row per case, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder of finished runs with the task `findings`")
    rows = [row for row in read_json(parser.parse_args().study / "study.json")["rows"] if row["runs"]]
    aucs = {row["name"]: [_raw(one)["value"] for one in found(row)] for row in rows}
    right = next(row["name"] for row in rows if "cohort.mislabelled" not in row["differs"])
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    for row in rows:
        alike = (
            one["name"]
            for one in rows
            if _wrong(one) == _wrong(row) and "tasks.findings.label_noise" not in one["differs"]
        )
        as_given = next(alike)
        plain, mean = fmean(aucs[as_given]), fmean(aucs[row["name"]])
        wins = row["name"] != as_given and _wrong(row) is not None
        back = f"{(mean - plain) / (fmean(aucs[right]) - plain):.0%}" if wins else ""
        print("| " + " | ".join((row["name"], f"{mean:.3f}", _span(next(found(row))), back, *_told(row))) + " |")


def found(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The figures of the findings task of each seed."""
    for folder in row["folders"]:
        yield read_json(Path(folder) / "result.json")["utility"]["findings"]


def _raw(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    mean: Mapping[str, Any] = figures["raw"]["mean_auc"]
    return mean


def _span(figures: Mapping[str, Any]) -> str:
    low, high = _raw(figures)["ci95"]
    return f"{low:.3f} to {high:.3f}"


def _wrong(row: Mapping[str, Any]) -> object:
    return row["differs"].get("cohort.mislabelled")


def _told(row: Mapping[str, Any]) -> tuple[str, str]:
    """Mean sensitivity and specificity of the findings that were corrected, and how many were not; over seeds."""
    noise = [figures["label_noise"] for figures in found(row) if "label_noise" in figures]
    rates = [one for told in noise for one in told["rates"].values() if one is not None]
    if not rates:
        return "", ""
    means = (fmean(rate[which] for rate in rates) for which in ("sensitivity", "specificity"))
    return " and ".join(f"{mean:.2f}" for mean in means), str(sum(len(told["uncorrected"]) for told in noise))


if __name__ == "__main__":
    main()
