"""Updates of a shared model that were learnt from a few given films, as whoever receives them sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedcxr.knowledge import Holding
from fedcxr.view import Array, Weights

When = Literal["early", "late"]

SHARES = (4, 2)  # of an attacker's steps, after which its pictures are looked at, too


@dataclass(frozen=True)
class Update:
    """What a site was sent, what it sent back, and what is known of the films in between."""

    when: When
    before: Weights
    after: Weights
    labels: npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN, of the films in some order


def handed_over(updates: Sequence[Update]) -> Holding:
    """All of them as plain arrays; the weights that several begin with once."""
    arrays: dict[str, Array] = {}
    for number, update in enumerate(updates):
        arrays |= {f"{update.when}/{name}": array for name, array in update.before.items()}
        arrays |= {f"{number:04}/{name}": array for name, array in update.after.items()}
    labels = np.concatenate([update.labels for update in updates])
    told = [{"when": update.when, "films": len(update.labels)} for update in updates]
    return Holding({"labels": labels, **arrays}, {"updates": told})


def read(holding: Holding) -> Iterator[Update]:
    """The same, one after the other."""
    done = 0
    for number, told in enumerate(holding.facts["updates"]):
        labels = np.asarray(holding.arrays["labels"][done : done + told["films"]], dtype=np.float32)
        yield Update(told["when"], _below(holding, told["when"]), _below(holding, f"{number:04}"), labels)
        done += told["films"]


def _below(holding: Holding, name: str) -> Weights:
    start = f"{name}/"
    return {key.removeprefix(start): array for key, array in holding.arrays.items() if key.startswith(start)}
