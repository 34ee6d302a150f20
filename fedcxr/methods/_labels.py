"""Findings and split of each film under the film's own key: whoever has none learns neither what is on it nor its use.

One byte for each finding and one for the split, so that how much is sealed depends on how many findings a site has.
"""

from __future__ import annotations

import numpy as np

from fedcxr.cohort import SPLITS, Cohort
from fedcxr.errors import BrokenSeal, DataError
from fedcxr.keys import ReleaseKey, SomeKeys, sealed_bytes
from fedcxr.release import LABELS, Release
from fedcxr.view import Array, Rows, Told

UNKNOWN = 2  # beside 0, not there, and 1, there


def length(findings: int) -> int:
    """How many bytes are published of each film."""
    return sealed_bytes(findings + 1)


def seal(cohort: Cohort, keys: ReleaseKey, version: str) -> Array:  # (n, bytes)
    """What is published of films that are released under these keys."""
    plain = np.empty((len(cohort), len(cohort.findings) + 1), dtype=np.uint8)
    plain[:, :-1] = np.where(np.isnan(cohort.labels), UNKNOWN, cohort.labels)
    plain[:, -1] = cohort.splits
    sealed = [keys.image_key(str(row)).seal(one.tobytes(), _purpose(version)) for row, one in enumerate(plain)]
    return np.frombuffer(b"".join(sealed), dtype=np.uint8).reshape(len(cohort), -1)


def unseal(release: Release, rows: Rows, keys: ReleaseKey | SomeKeys, version: str) -> Told:
    """What is told of these films to whoever has their keys, and nothing of the others.

    What does not open, or makes no sense, its own site has sealed so: it is told of nobody's film.
    """
    told = Told.nothing(len(release), len(release.facts["findings"]))
    for row in rows:
        try:
            opened = keys.image_key(str(row)).open(release.arrays[LABELS][row].tobytes(), _purpose(version))
        except (BrokenSeal, DataError):
            continue
        plain = np.frombuffer(opened, dtype=np.uint8)
        findings, split = plain[:-1], int(plain[-1]) if len(plain) else len(SPLITS)
        if len(findings) == told.findings.shape[1] and (findings <= UNKNOWN).all() and split < len(SPLITS):
            told.findings[row] = np.where(findings == UNKNOWN, np.nan, findings)
            told.split[row] = split
    return told


def _purpose(version: str) -> str:
    return f"labels of {version}"
