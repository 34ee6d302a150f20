"""What noise costs and buys, as curves: findings and re-identification over the scale, one panel per distribution.

fedcxr study configs/studies/noise.yaml --out runs --resume
scripts/evidence noise --runs runs --picture docs/pictures/noise-curves.png

Scenarios that have not been run are left out of the table and the picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedcxr.runs.colours import BLUE, VERMILION
from fedcxr.runs.comparison import load, table
from fedcxr.runs.study import Study

Row = dict[str, Any]
WIDTH = 3.6  # inches of a panel
LOOKS = {  # figure -> how it is drawn
    "trained": {"color": BLUE, "linestyle": "-"},
    "frozen": {"color": BLUE, "linestyle": ":"},
    "retrained": {"color": VERMILION, "linestyle": "-"},
    "naive": {"color": VERMILION, "linestyle": ":"},
}
TOLD = {
    "trained": "findings, trained on releases",
    "frozen": "findings, trained on clean films",
    "retrained": "attacker who knows the noise",
    "naive": "attacker who does not",
}


def main() -> None:
    """Print the rows that are there, and draw if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, nargs="?", default=Path("configs/studies/noise.yaml"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--picture", type=Path, help="where to draw the curves")
    chosen = parser.parse_args()
    comparison = load(chosen.runs / Study.read(chosen.study).name)
    comparison["rows"] = [row for row in comparison["rows"] if row["runs"]]
    print(table(comparison))
    if chosen.picture and comparison["rows"]:
        _draw(comparison["rows"], chosen.picture)


def _draw(rows: Sequence[Row], file: Path) -> None:
    from matplotlib.figure import Figure

    regions, distributions = (list(dict.fromkeys(_of(row, key) for row in rows)) for key in ("where", "distribution"))
    size = (WIDTH * max(2, len(distributions)), 0.8 * WIDTH * len(regions) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(regions), len(distributions), sharex=True, sharey=True, squeeze=False)
    for line, region in zip(panels, regions, strict=True):
        for axes, distribution in zip(line, distributions, strict=True):
            here = [r for r in rows if (_of(r, "where"), _of(r, "distribution")) == (region, distribution)]
            here.sort(key=lambda row: float(_of(row, "scale")))
            scales = [_of(row, "scale") for row in here]
            for name, look in LOOKS.items():
                aucs = [row["figures"][name]["mean"] for row in here]
                axes.plot(scales, aucs, marker="o", markersize=3, label=TOLD[name], **look)
            axes.axhline(0.5, color="grey", linewidth=0.6)
            axes.set_title(f"{distribution}, {str(region).replace('_', ' ')}", fontsize=9)
            axes.grid(alpha=0.3)
        line[0].set_ylabel("mean AUC")
    for axes in panels[-1]:
        axes.set_xlabel("scale")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.savefig(file, dpi=110)


def _of(row: Row, key: str) -> Any:
    return row["differs"][f"method.{key}"]


if __name__ == "__main__":
    main()
