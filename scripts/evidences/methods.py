"""The table of a finished study, and one picture per scenario of it: original, released, difference, flow.

fedcxr study configs/studies/methods.yaml --out runs --resume
scripts/evidence methods configs/studies/methods.yaml --runs runs --pictures docs/pictures/methods
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from fedcxr.runs.comparison import load, table
from fedcxr.runs.pictures import height_of_comparison
from fedcxr.runs.study import Study

FILMS = 2  # shown of each scenario


def main() -> None:
    """Print the table, and draw if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--pictures", type=Path, help="folder to write them to; none unless given")
    chosen = parser.parse_args()
    comparison = load(chosen.runs / Study.read(chosen.study).name)
    print(table(comparison))
    if chosen.pictures:
        chosen.pictures.mkdir(parents=True, exist_ok=True)
        for row in comparison["rows"]:
            drawn = Path(row["folders"][0]) / "pictures" / "site-1.png"
            if drawn.is_file():
                name = row["described"].replace(" ", "-").replace(",", "")
                _first_films(drawn).save(chosen.pictures / f"{name}.png", optimize=True)


def _first_films(picture: Path) -> Image.Image:
    with Image.open(picture) as whole:
        return whole.crop((0, 0, whole.width, height_of_comparison(FILMS)))


if __name__ == "__main__":
    main()
