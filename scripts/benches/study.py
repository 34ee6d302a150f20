"""What a study costs: twelve arms under three seeds, and what its runs share, which each alone would make anew.

    scripts/bench study                    # 36 runs of the preset quick; and each arm once, one by one
    scripts/bench study --seeds 1 --alone 3

`study`   all runs, two at once, in a cache that is empty at first
`alone`   some of them, spread over the arms, one after the other, each in an empty cache of its own
`saved`   of processor time, by a run on average, which is of the same arms only where each was made alone as well;
          wall-clock time would say what else the machine was doing
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

ARMS: tuple[Any, ...] = (
    "none",
    {"name": "noise", "scale": 0.1},
    {"name": "noise", "scale": 0.2},
    {"name": "noise", "scale": 0.5},
    {"name": "dp_pix", "b": 4},
    {"name": "dp_pix", "b": 8},
    "privacy_net",
    {"name": "prichexy_net", "mu": 0.08},
    {"name": "prichexy_net", "mu": 0.16},
    "sca",
    "sealed",
    "fedavg",
)


def main() -> None:
    """Run both, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--alone", type=int, default=len(ARMS), metavar="N", help="runs that are made one by one")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    seeds = list(range(options.seeds))
    every = [(arm, seed) for seed in seeds for arm in ARMS]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wall, together = _studied(place / "all", list(ARMS), seeds, options.jobs)
        told = f"{wall / 60:.1f} min, {together / len(every):.1f} s a run"
        print(f"study  {len(every)} runs, {options.jobs} at once: {told}")
        chosen = [(ARMS[at * len(ARMS) // options.alone], seeds[at % len(seeds)]) for at in range(options.alone)]
        alone = [_studied(place / f"alone-{at}", [arm], [seed], 1)[1] for at, (arm, seed) in enumerate(chosen)]
    same = [ARMS.index(arm) for arm, _ in chosen]
    print(f"alone  {len(chosen)} runs (arms {', '.join(map(str, same))}): {fmean(alone):.1f} s a run")
    print(f"saved  {1 - together / len(every) / fmean(alone):.0%} of processor time")


def _studied(place: Path, arms: list[Any], seeds: list[int], jobs: int) -> tuple[float, float]:
    """Seconds of the wall and of all processors together."""
    place.mkdir()
    file = place / "study.yaml"
    scenario = {"preset": "quick", "sites": 5}
    file.write_text(yaml.safe_dump({"scenario": scenario, "cases": [{"method": arm} for arm in arms], "seeds": seeds}))
    command = [sys.executable, "-m", "fedcxr.cli", "study", str(file), "--out", str(place / "runs")]
    environment = {**os.environ, "FEDCXR_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    before, began = _used(), time.perf_counter()
    subprocess.run(
        [*command, "--engine", "inline", "--jobs", str(jobs)], env=environment, check=True, capture_output=True
    )
    took = time.perf_counter() - began, _used() - before
    shutil.rmtree(place)
    return took


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
