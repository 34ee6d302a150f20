"""What a report over many runs costs: seconds and memory, of copies of stored runs under other names.

    scripts/bench report RUNS/STUDY
    scripts/bench report RUNS/STUDY --runs 200

Every copy is a policy of its own, which is the most that there can be to show.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS, MEGABYTES = 5.0, 300.0  # what a report over 200 runs may take


def main() -> None:
    """Copy, report in a process of its own, and measure that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder of finished runs")
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    done = sorted(path.parent for path in options.study.glob("*/result.json"))
    if not done:
        sys.exit(f"error: no finished run; given: {options.study}; allowed: RUNS/STUDY")
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "many"
        for number, run in zip(range(options.runs), itertools.cycle(done)):
            _copy(run, study, number)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "fedcxr", "report", study], stdout=subprocess.DEVNULL, check=False)
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        size = (study / "report.html").stat().st_size / 1e6
    print(f"{options.runs} runs: {took:.1f} s (at most {SECONDS:g}), {peak:.0f} MB (at most {MEGABYTES:g})")
    print(f"page: {size:.2f} MB (at most 3)")


def _copy(run: Path, study: Path, number: int) -> None:
    """Another policy with the same figures and pictures."""
    told = json.loads((run / "result.json").read_text())
    told["run"]["id"] = f"{told['run']['method']}-{number:032x}"
    folder = study / f"{told['run']['id']}-{told['run']['seed']}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(told))
    shutil.copy(run / "run.json", folder)
    if (run / "pictures").is_dir():
        shutil.copytree(run / "pictures", folder / "pictures")


if __name__ == "__main__":
    main()
