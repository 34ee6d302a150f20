"""What sparse codes cost: films per second of CPU time on one thread, and bytes per film.

    scripts/bench sca                                           # phantoms of 256 px
    scripts/bench sca --films DIR --table metadata.csv          # one's own films

`hide and seal` is the ambiguation with the sealing of its secret and the signature of the release. The last lines go on
to the 112,120 films of NIH ChestX-ray14 by multiplication: nobody ran that.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.keys import MasterKey
from fedcxr.keys.identity import Identity
from fedcxr.keys.signatures import sign_release
from fedcxr.methods import RunContext
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.sca import Sca
from fedcxr.methods.sealed import Sealed
from fedcxr.release import Release
from fedcxr.rng import stream

sys.path.insert(0, str(Path(__file__).parents[1] / "evidences"))
from _films import add_options, open_films

NIH = 112_120  # films
VERSION = "bench"


def main() -> None:
    """Time each step on the same films, several times over, and print the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--s", type=int, default=8)
    parser.add_argument("--together", type=int, default=1, choices=(1, 2, 4), help="how wide squares of cells share")
    parser.add_argument("--most", type=int, default=64, help="films at most")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    cohort = open_films(options)
    cohort = cohort.take(np.arange(min(options.most, len(cohort))))
    print(f"{len(cohort)} films of {options.size} px, s {options.s}, median of {options.turns} turns, one thread\n")
    rate = {"s": options.s, "together": options.together}
    for method in (Sca(**rate), Sca(**rate, ambiguation="keyed"), Sealed(**rate)):
        _time(method, cohort, options.turns)


def _time(method: CodeMethod, cohort: Cohort, turns: int) -> None:
    films, context = cohort.films(), RunContext("cpu", "fp32")
    codec, keys = method.codec({}, context), MasterKey.generate("site-1", 1).release_key("1")
    identity = Identity.generate("site-1")
    codes = codec.encode(films)
    release = method.release(cohort, keys, {}, stream(0, "release"), context)

    def hide() -> Release:
        arrays = {**release.arrays, **method.hide(codes, 0, keys, method.version({}), cohort.size)}
        return sign_release(Release("codes", "site-1", release.method, arrays, release.facts), identity)

    def find() -> None:
        for row in range(len(films)):
            method.find(release, row, keys.image_key(str(row)))

    rates = {
        "encode": _rate(lambda: codec.encode(films), len(films), turns),
        "hide, seal and sign": _rate(hide, len(films), turns),
        "open and purify": _rate(find, len(films), turns),
        "decode": _rate(lambda: codec.decode(codes, cohort.size), len(films), turns),
    }
    print(method.plugin_name(), *method.mechanism().values())
    for name, rate in rates.items():
        print(f"  {name:20} {rate:6.0f} films per CPU second")
    public, sealed = (_bytes(release, name, len(films)) for name in ("codes", "sealed"))
    stored = len(release.to_bytes()) / len(films)
    print(f"  {public:.0f} bytes published and {sealed:.0f} sealed per film, {stored:.0f} as the release is stored")
    give = 1 / rates["encode"] + 1 / rates["hide, seal and sign"]
    take = 1 / rates["open and purify"] + 1 / rates["decode"]
    hours = [NIH * seconds / 3600 for seconds in (give, take)]
    print(f"  {NIH} films: {hours[0]:.2f} CPU hours to give, {hours[1]:.2f} to take, {NIH * stored / 1e9:.2f} GB\n")


def _rate(work: Callable[[], object], films: int, turns: int) -> float:
    work()  # imports, caches
    seconds = []
    for _ in range(turns):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return films / median(seconds)


def _bytes(release: Release, name: str, films: int) -> float:
    return release.arrays[name].nbytes / films if name in release.arrays else 0


if __name__ == "__main__":
    main()
