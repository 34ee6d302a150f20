"""Real films protected by each method of the package, and what a quick audit finds in them.

    scripts/evidence audit --data DIR --jobs 2                      # DIR holds covid/ and kermany/
    scripts/evidence audit --data DIR --only covid --methods "noise .2" "dp_pix 8"

`histogram` and `bands` are no methods: films are made alike, as whoever reads them may do, and nothing is hidden.
Methods that learn do so on phantoms, as where the public has no film of anybody's. Films are written to a temporary
folder, and audited there as by anyone who is handed two folders and a table; where a collection's films are from
(covid: the publication) stands in that table. `fused` hears all attackers, `best` is the best of them alone; both are
asked for another film of the patient, `film` for the very film that was released.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from _ending import in_one_line
from _real_cohorts import RealFilms, covid, enough, kermany
from PIL import Image

from fedcxr.audit import Folders, audit
from fedcxr.data import cache_folder
from fedcxr.methods import FilmMethod
from fedcxr.models.options import Normalise
from fedcxr.models.scanner import Normalised
from fedcxr.protocol import COORDINATOR, context_of, teach_step
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.training import to_tensor
from fedcxr.training.compute import Compute

Films = npt.NDArray[np.uint8]  # (n, h, w)

SIZE = 64  # pixels of a side
PUBLIC = {"source": "phantom", "patients": 800, "size": SIZE}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "none": {"name": "none"},
    "noise .2": {"name": "noise", "scale": 0.2},
    "noise 1.0": {"name": "noise", "scale": 1.0},
    "dp_pix 8": {"name": "dp_pix", "b": 8},
    "privacy_net": {"name": "privacy_net", "fit": "public"},
    "prichexy_net .16": {"name": "prichexy_net", "mu": 0.16, "fit": "public"},
}
ALIKE: tuple[Normalise, ...] = ("histogram", "bands")
COLLECTIONS = {"covid": covid, "kermany": kermany}
HEAD = ("collection", "method", "fused", "best", "one source", "rank 1", "film", "converged", "verdict")


def main() -> None:
    """One line for each collection and method; what cannot be audited ends with one line and its code."""
    options = _options()
    with in_one_line():
        collections = [COLLECTIONS[name](options.data, SIZE) for name in options.only or COLLECTIONS]
        for cohort in collections:
            enough(cohort)
        print(_line(HEAD), _line(["---"] * len(HEAD)), sep="\n", flush=True)
        for method in options.methods or METHODS:
            shown = alike(collections, method) if method in ALIKE else protected(collections, method, options.seed)
            for cohort, films in zip(collections, shown, strict=True):
                print(_line((cohort.name, method, *found(cohort, films, options))), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with covid/ and kermany/")
    parser.add_argument("--only", nargs="+", choices=COLLECTIONS, help="collections")
    parser.add_argument("--methods", nargs="+", choices=(*METHODS, *ALIKE))
    parser.add_argument("--thorough", action="store_true", help="not quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes that attack; the figures are the same")
    return parser.parse_args()


def protected(collections: Sequence[RealFilms], method: str, seed: int) -> list[Films]:
    """The films of each collection as the method releases them; what it must learn it learns once."""
    scenario = Scenario.parse(
        {
            "sites": 1,
            "seed": seed,
            "cohort": PUBLIC,
            **({"public": PUBLIC} if "fit" in METHODS[method] else {}),
            "method": dict(METHODS[method]),
            "tasks": {},
            "adversaries": {"verifier": {}},
        }
    )
    weights = {}
    if scenario.public is not None:
        weights = teach_step(scenario, scenario.films_of(scenario.public).open(cache_folder())).weights
    assert isinstance(scenario.method, FilmMethod), "all of METHODS share films"
    protect = scenario.method.protector(weights, context_of(scenario, COORDINATOR, None))
    return [protect(cohort.films, stream(seed, "audit", cohort.name, method)) for cohort in collections]


def alike(collections: Sequence[RealFilms], how: Normalise) -> list[Films]:
    """The films of each collection as a network that makes them alike goes on to read them, in 8 bits."""
    made = (Normalised(how)(to_tensor(cohort.films, Compute.choose("cpu", "fp32"))) for cohort in collections)
    return [(films[:, 0].clamp(0, 1) * 255).round().byte().numpy() for films in made]


def found(cohort: RealFilms, released: Films, options: argparse.Namespace) -> tuple[str, ...]:
    """The figures of one audit, as they stand in the table."""
    before = sum(os.times()[:4])
    with TemporaryDirectory() as folder:
        folders = written(Path(folder), cohort, released)
        report = audit(folders, thorough=options.thorough, seed=options.seed, workers=options.jobs).report
    seconds = sum(os.times()[:4]) - before
    print(f"{cohort.name}: {seconds:.0f} CPU s, {report['run']['wall_s']:.0f} s", file=sys.stderr, flush=True)
    entries = {one["attacker"]: one for one in report["person"]["attackers"]}
    fused = entries.pop("fused")
    best = max(entries.values(), key=lambda one: one["auc"]["value"])
    film = report["film"]["worst_case"]["auc"]
    converged = {True: "yes", False: "still rising", None: "unknown"}[report["person"]["worst_case"]["converged"]]
    return (
        _auc(fused["auc"]),
        f"{best['attacker']} {_auc(best['auc'])}",
        _auc(fused["same_source_auc"]),
        "unknown" if fused["rank1"] is None else f"{fused['rank1']:.2f}",
        _auc(film),
        converged,
        report["verdict"]["level"],
    )


def written(folder: Path, cohort: RealFilms, released: Films) -> Folders:
    """Both folders and the table, as somebody might hand them over."""
    for side, films in (("original", cohort.films), ("released", released)):
        (folder / side).mkdir()
        for row, film in enumerate(films):
            Image.fromarray(film).save(folder / side / f"{row:04d}.png")
    rows = zip((f"{row:04d}.png" for row in range(len(released))), cohort.patients, cohort.sources, strict=True)
    with (folder / "films.csv").open("w", newline="") as file:
        # What is a label and no source must not pass for one.
        csv.writer(file).writerows([("filename", "patient", "source" if cohort.name == "covid" else "label"), *rows])
    return Folders(folder / "original", folder / "released", folder / "films.csv")


def _auc(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "unknown"
    span = "" if figure["ci95"] is None else f" ({figure['ci95'][0]:.3f} to {figure['ci95'][1]:.3f})"
    return f"{figure['value']:.3f}{span}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
