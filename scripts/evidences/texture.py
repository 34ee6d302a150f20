"""How much texture each policy of a finished study keeps: a table, and a map of features by policies.

fedcxr study configs/studies/texture.yaml --out runs
scripts/evidence texture runs/texture --picture docs/pictures/texture.png
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedcxr.metrics.agreement import CLASSES
from fedcxr.runs.agreement_map import agreement_map
from fedcxr.runs.pictures import png
from fedcxr.storage.disk import read_json, write_atomic

HEADS = (
    "shared",
    "mean ICC",
    "95 %",
    "excellent",
    *CLASSES,
    "ARE, median",
    "Frechet distance",
    "between halves",
    "floor",
)


def main() -> None:
    """Print what the first run of each policy found, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder of finished runs with the task `texture`")
    parser.add_argument("--picture", type=Path, help="where to draw the map")
    options = parser.parse_args()
    columns = dict(found(options.study))
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    for name, figures in columns.items():
        print("| " + " | ".join((name, *_cells(figures))) + " |")
    if options.picture:
        first = next(iter(columns.values()))
        where = "inside the lungs" if first["inside"] == "lungs" else "whole"
        about = f"{first['films']} films, {where}; study {options.study.resolve().name}"
        write_atomic(options.picture, png(agreement_map(columns, about)))


def found(study: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Policies by name, each with what its readers see, and in the end what shows without a key."""
    without = None
    for row in read_json(study / "study.json")["rows"]:
        for folder in row["folders"][:1]:
            figures = read_json(study / Path(folder).name / "result.json")["utility"]["texture"]
            yield row["name"], figures
            without = figures["unauthorised"] or without
    if without is not None:
        yield "without a key", without


def _cells(figures: Mapping[str, Any]) -> Iterator[str]:
    low, high = figures["mean_icc"]["ci95"]
    yield f"{figures['mean_icc']['value']:.3f}"
    yield f"{low:.3f} to {high:.3f}"
    yield f"{figures['excellent']['value']:.0%}"
    yield from (str(figures["classes"][name]) for name in CLASSES)
    yield f"{figures['median_are']:.3f}"
    yield from (f"{figures['frd'][name]:.1f}" for name in ("value", "between_halves", "floor"))


if __name__ == "__main__":
    main()
