"""How many films a second have their 93 radiomics features told, on one core, and how many where pyradiomics does it.

    scripts/bench texture
    scripts/bench texture --pyradiomics ORACLE/bin/python --data DIR

Smooth films, noisy ones, and with --data real ones. `--pyradiomics` is an interpreter that has it: see
tests/metrics/pyradiomics_says.py. Its figures must be ours, or the bench says by how much they differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from fedcxr.metrics.radiomics import FAMILIES, NAMES, features
from fedcxr.metrics.radiomics._levels import Levels, binned
from fedcxr.rng import stream
from fedcxr.training.compute import Compute

SAYS = Path(__file__).parents[2] / "tests" / "metrics" / "pyradiomics_says.py"
Films = npt.NDArray[np.uint8]


def main() -> None:
    """Time features of each kind of films several times over, family by family too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--pyradiomics", help="a Python that has pyradiomics")
    parser.add_argument("--data", type=Path, help="a folder of PNG films")
    options = parser.parse_args()
    print(f"{options.films} films of {options.size} px, whole, median of {options.turns} turns, films per CPU second")
    with Compute.choose("cpu").session():
        for name, films in _kinds(options.films, options.size, options.data).items():
            features(films[:1])  # imports, caches
            rate = len(films) / median(_seconds(partial(features, films)) for _ in range(options.turns))
            print(f"{name:8} {rate:6.1f}" + (_beside(films, rate, options.pyradiomics) if options.pyradiomics else ""))
            levels = [binned(films[row : row + 1], np.ones_like(films[:1], np.bool_)) for row in range(len(films))]
            for family, told in FAMILIES.items():
                took = _seconds(partial(_each, told, levels))
                print(f"  {family:10} {1000 * took / len(films):6.2f} ms per film")


def _each(told: Callable[[Levels], object], levels: list[Levels]) -> None:
    for one in levels:
        told(one)


def _kinds(count: int, size: int, data: Path | None) -> dict[str, Films]:
    rng = stream(0, "bench", "texture")
    fields = np.array([ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 40) for _ in range(count)])
    smooth = 128 + 120 * fields / np.abs(fields).max()
    kinds = {"smooth": smooth, "noisy": smooth + rng.normal(0, 25, smooth.shape)}
    if data is not None:
        files = sorted(data.glob("*.png"))[:count]
        kinds["real"] = np.array([np.array(Image.open(file).convert("L").resize((size, size))) for file in files])
    return {name: np.clip(films, 0, 255).astype(np.uint8) for name, films in kinds.items()}


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _beside(films: Films, rate: float, interpreter: str) -> str:
    """What pyradiomics takes for some of the same films, and how far its figures are from ours."""
    some = films[:4]
    with tempfile.TemporaryDirectory() as place:
        given, said = Path(place) / "films.npz", Path(place) / "said.json"
        np.savez(given, films=some, masks=np.ones_like(some, np.bool_))
        subprocess.run([interpreter, str(SAYS), str(given), str(said)], check=True, stderr=sys.stderr)
        told = json.loads(said.read_text())
    theirs = np.array([[film[name] for name in NAMES] for film in told["features"]])
    apart = np.abs(features(some) - theirs) / np.maximum(np.abs(theirs), 1e-6)
    slower = len(some) / told["seconds"]
    version = told["pyradiomics"]
    return (
        f"   pyradiomics {version} {slower:5.2f}, {rate / slower:.0f} times slower; apart by {apart.max():.0e} at most"
    )


if __name__ == "__main__":
    main()
