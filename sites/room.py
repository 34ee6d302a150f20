"""Whether there is room for what an answer has to write: where there is none, nothing is entered and nothing leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fedcxr.data import cache_folder
from fedcxr.storage.disk import full
from sites.counter import counters_folder
from sites.custody import Custody

LEAST = 1 << 16  # bytes: an entry, a small vault's draft


def missing(custody: Custody) -> list[str]:
    """What to say to the hospital of each disk without room that its node writes to, with what to do."""
    places = dict.fromkeys([custody.vault_folder, custody.journal_path.parent, counters_folder(), cache_folder()])
    return [str(full(place)) for place in places if (free := _free(place)) is not None and free < LEAST]


def _free(place: Path) -> int | None:
    """How much this user may write there; None where nobody lets this user look."""
    for there in _upwards(place):
        try:
            held = os.statvfs(there)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return held.f_bavail * held.f_frsize
    return None


def _upwards(place: Path) -> Iterator[Path]:
    yield place
    yield from place.parents
