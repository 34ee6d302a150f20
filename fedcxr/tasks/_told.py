"""What a test at a site tells of each film: for every finding that is known of it one of 256 numbers, and no more.

The model that is tested is whatever the coordinator sends, and need not be one of findings: with weights that somebody
worked out, and an output for every pixel, its scores are the films themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedcxr.data._vocabulary import canonical
from fedcxr.errors import Refused
from fedcxr.metrics import finite_order

MOST_FINDINGS = 1000  # of a consortium: each takes memory for every film of a site
LEVELS = 256  # of a score: an AUC moves by about a thousandth
LARGEST = 1e30  # of a score: beyond, there are no even steps in float32


def check_findings(findings: Sequence[str]) -> None:
    """Refuse more words than there are findings, or several for one: each is another number of every film."""
    if len(findings) > MOST_FINDINGS:
        raise Refused("a test of too many findings", given=len(findings), allowed=f"up to {MOST_FINDINGS}")
    if len({canonical(finding) for finding in findings}) < len(findings):
        raise Refused("a test of one finding under several names", given=", ".join(findings))


def told(
    scores: npt.NDArray[np.float32], labels: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:  # (n, k) both, and so is what is told
    """Scores as they leave: in even steps from a finding's least to its largest, whatever a model takes for sure.

    They are 0 where nothing is known that they could be held against.
    """
    known = ~np.isnan(labels)
    plain = finite_order(scores).astype(np.float64).clip(-LARGEST, LARGEST)
    least = plain.min(0, where=known, initial=LARGEST)
    step = np.maximum(plain.max(0, where=known, initial=-LARGEST) - least, 0.0) / (LEVELS - 1)
    steps = np.rint((plain - least) / np.where(step > 0, step, 1.0))
    return np.where(known, least + steps * step, 0.0).astype(np.float32)
