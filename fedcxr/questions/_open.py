"""What an attacker reaches with keys: whoever has them sees the films, whatever is hidden from all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedcxr.questions import Heard
from fedcxr.questions._pairs import Bools, ScoredPairs, Scores
from fedcxr.questions._scoring import auc, interval

OPENED = "opened"  # the world in which the adversary has every key


def to_key_holders(heard: Mapping[str, Heard], attacker: str, seed: int) -> dict[str, Any] | None:
    """Its figures with all keys, with those that somebody was granted, and with one site's; None: there are no keys."""
    if OPENED not in heard:
        return None
    pairs: ScoredPairs = heard[OPENED].key
    scores: Scores = heard[OPENED].answers[attacker]["scores"]
    return {
        "auc": _auc(scores, pairs, np.ones(len(scores), dtype=np.bool_), seed),
        "readers": {name: _auc(scores, pairs, rows, seed) for name, rows in pairs.readers.items()},
        "by_site": {str(site): _auc(scores, pairs, pairs.sites == site, seed) for site in np.unique(pairs.sites)},
    }


def _auc(scores: Scores, pairs: ScoredPairs, rows: Bools, seed: int) -> dict[str, Any]:
    """Of the films that are open."""
    if not rows.any():
        return {"value": None, "ci95": None}
    of_rows = pairs.of_rows(rows)
    return {"value": auc(scores[rows], of_rows), "ci95": interval(scores[rows], of_rows, seed)}
