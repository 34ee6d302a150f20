"""What an attacker reaches with keys: whoever has them sees films, whatever is hidden from all others.

These films are asked about beside the unprotected ones, with what the attacker has learnt for those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedcxr.questions import Heard
from fedcxr.questions._pairs import Bools, ScoredPairs, Scores
from fedcxr.questions._scoring import RAW, auc_of_rows


def apart(heard: Mapping[str, Heard]) -> tuple[Mapping[str, Heard], Heard | None]:
    """What was heard of unprotected films alone, and what was heard of films that keys open, if there are any."""
    pairs: ScoredPairs = heard[RAW].key
    if pairs.opened is None:
        return heard, None
    return {**heard, RAW: _of_rows(heard[RAW], ~pairs.opened)}, _of_rows(heard[RAW], pairs.opened)


def _of_rows(heard: Heard, rows: Bools) -> Heard:
    pairs: ScoredPairs = heard.key
    key = replace(pairs.of_rows(rows), readers={name: open_to[rows] for name, open_to in pairs.readers.items()})
    answers = {who: {"scores": answer["scores"][rows]} for who, answer in heard.answers.items()}
    return Heard(key, answers, heard.seconds)


def to_key_holders(opened: Heard | None, attacker: str, seed: int) -> dict[str, Any] | None:
    """Its figures with all keys, with those that somebody was granted, and with one site's; None: there are no keys."""
    if opened is None:
        return None
    pairs: ScoredPairs = opened.key
    scores: Scores = opened.answers[attacker]["scores"]
    return {
        "auc": auc_of_rows(scores, pairs, np.ones(len(scores), dtype=np.bool_), seed),
        "readers": {name: auc_of_rows(scores, pairs, rows, seed) for name, rows in pairs.readers.items()},
        "by_site": {
            str(site): auc_of_rows(scores, pairs, pairs.sites == site, seed) for site in np.unique(pairs.sites)
        },
    }
