"""What a threat model grants of films that were released as codes: what is public of them, once or twice, and pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries import Coded, Pairs
from fedcxr.codes import Codes
from fedcxr.cohort import Cohort
from fedcxr.keys import ReleaseKey
from fedcxr.methods import Films, Weights, Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.partition import Rows
from fedcxr.release import Release

Held = tuple[ReleaseKey, Cohort, Weights]  # a site's films, its key for them, and what its codec learnt
Taken = tuple[Release, ReleaseKey | None, Weights]  # a release, its key if it leaked, and what its codec learnt


def coded(releases: Sequence[Release], attacked: npt.NDArray[np.bool_]) -> Coded:
    """What is public of the attacked films' codes."""
    public, (first, *others) = public_codes(releases), (release.facts for release in releases)
    facts = {name: told for name, told in first.items() if all(other.get(name) == told for other in others)}
    return Coded(None if public is None else public[attacked], versions(releases)[attacked], facts)


def public_codes(releases: Sequence[Release]) -> Codes | None:
    """Those of all films, release after release; None: there are none."""
    codes = [r.arrays["codes"].astype(np.int8, copy=False) for r in releases if "codes" in r.arrays]
    return np.concatenate(codes) if codes else None


def versions(releases: Sequence[Release]) -> npt.NDArray[np.int64]:
    """Which of the codecs a film's is: a site that learnt by itself has one of its own."""
    own = np.cumsum([bool(release.weights) for release in releases]) - 1
    return np.repeat(np.maximum(own, 0), [len(release) for release in releases]).astype(np.int64)


def hidden_again(method: CodeMethod, held: Iterable[Held], workshop: Workshop) -> Codes:
    """What would be public of these films in another release."""
    releases = [method.release_under(key, films, weights, workshop) for key, films, weights in held if len(films)]
    codes = public_codes(releases)
    assert codes is not None
    return codes


def opened(method: CodeMethod, taken: Iterable[Taken], workshop: Workshop) -> tuple[npt.NDArray[np.bool_], Films]:
    """Which of all films leaked keys open, and these films; blanks for the others."""
    shown: list[npt.NDArray[np.bool_]] = []
    films: list[Films] = []
    for release, key, weights in taken:
        shown.append(np.full(len(release), key is not None))
        blank = np.zeros((len(release), *release.size), dtype=np.uint8)
        films.append(blank if key is None else method.restore(release, key, weights, workshop))
    return np.concatenate(shown), np.concatenate(films)


def pairs(releases: Sequence[Release], chosen: Rows, films: Rows) -> Pairs | None:
    """What is public of the chosen released films, which are these of the adversary's own."""
    public = public_codes(releases)
    if public is None or not len(chosen):
        return None
    return Pairs(public[chosen], films.astype(np.int64), versions(releases)[chosen])
