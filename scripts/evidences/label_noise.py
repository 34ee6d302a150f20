"""What wrong labels cost and how much of it comes back, of a finished study: a table with each share recovered.

fedcxr study configs/studies/label-noise.yaml --out runs
scripts/evidence label_noise runs/label-noise
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from fedcxr.storage.disk import read_json

HEADS = ("labels", "mean AUC", "95 % of the first seed", "cost won back", "mean rates", "findings left alone")


def main() -> None:
    """Print one row per case, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder of finished runs with the task `findings`")
    rows = [row for row in read_json(parser.parse_args().study / "study.json")["rows"] if row["runs"]]
    aucs = {row["name"]: fmean(_mean(one)["value"] for one in found(row)) for row in rows}
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    for row in rows:
        right, plain = (_taken_for_right(rows, wrong, row) for wrong in (None, _wrong(row)))
        cost, back = aucs[right] - aucs[plain], ""
        if row["name"] not in (right, plain) and cost:
            back = f"{(aucs[row['name']] - aucs[plain]) / cost:.0%}"
        told = (row["name"], f"{aucs[row['name']]:.3f}", _span(next(found(row))), back, *_told(row))
        print("| " + " | ".join(told) + " |")


def found(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The figures of the findings task of each seed."""
    for folder in row["folders"]:
        yield read_json(Path(folder) / "result.json")["utility"]["findings"]


def _taken_for_right(rows: Sequence[Mapping[str, Any]], wrong: object, row: Mapping[str, Any]) -> str:
    """The first case with labels as wrong as this, of films or codes as this row is, that is told nothing of them."""
    alike = (
        one for one in rows if _wrong(one) == wrong and one["differs"].get("method") == row["differs"].get("method")
    )
    return next(str(one["name"]) for one in alike if "tasks.findings.label_noise" not in one["differs"])


def _mean(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    mean: Mapping[str, Any] = figures["trained"]["mean_auc"]
    return mean


def _span(figures: Mapping[str, Any]) -> str:
    low, high = _mean(figures)["ci95"]
    return f"{low:.3f} to {high:.3f}"


def _wrong(row: Mapping[str, Any]) -> object:
    return row["differs"].get("cohort.mislabelled")


def _told(row: Mapping[str, Any]) -> tuple[str, str]:
    """Mean sensitivity and specificity of the findings that were corrected, and how many were not; over seeds."""
    noise = [figures["label_noise"] for figures in found(row) if "label_noise" in figures]
    if not noise:
        return "", ""
    sites = [list(told["sites"].values()) for told in noise if "sites" in told]
    parts = list(zip(*sites, strict=True)) or [tuple(told["rates"] for told in noise)]
    return "; ".join(map(_means, parts)), str(sum(len(told["uncorrected"]) for told in noise))


def _means(by_finding: Sequence[Mapping[str, Mapping[str, float] | None]]) -> str:
    rates = [one for told in by_finding for one in told.values() if one is not None]
    means = (fmean(rate[which] for rate in rates) for which in ("sensitivity", "specificity"))
    return " and ".join(f"{mean:.2f}" for mean in means)


if __name__ == "__main__":
    main()
