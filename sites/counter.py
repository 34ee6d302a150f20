"""How often a vault was changed, told by a second place: so that an older copy of it does not pass for the latest.

Whoever can write to the vault's folder can put an older copy of the vault there, which opens under the same passphrase
and knows nothing of what was begun, counted or revoked since. The number kept here is authenticated by a key that only
the vault holds, and never goes back. It helps as long as nobody restores both places together: keep it on another disk,
out of the vault's backups.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from fedcxr.errors import Refused, VaultLocked
from fedcxr.keys import context
from sites import private_folder
from sites.private_folder import entered

VARIABLE = "FEDCXR_COUNTERS"
RESTORED = 1 << 32  # a restored vault counts from the next multiple of it, which no other copy has reached
LONGEST = 1 << 10  # bytes
DO = "find out who restored or copied it; if it was you, run `fedcxr keys accept-restored`"


def counters_folder() -> Path:
    """Where a user's counters are unless another folder is named."""
    named = os.environ.get(VARIABLE)
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Path(named) if named else state / "fedcxr" / "counters"


class Counter:
    """The number of a vault's latest change, in a file of its own."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._folder = counters_folder()
        self._name = self._mac("name").hex()[:32]  # it tells nobody whose it is

    @property
    def path(self) -> Path:
        return self._folder / self._name

    def known(self) -> int:
        """The number, which a vault that was unlocked here before has."""
        change = self._read()
        if change is None:
            raise Refused("this vault has no counter here: it was copied or restored", given=self.path, do=DO)
        return change

    def claimed(self) -> int:
        """The number as far as there is one to be believed."""
        try:
            return self._read() or 0
        except VaultLocked:
            return 0

    def check(self, change: int, known: int) -> None:
        """Refuse a vault that is older than the counter was when, or before, the vault was read."""
        if change < known:
            raise Refused(
                "this vault is an older copy: what was begun, counted and revoked since is not in it",
                given=f"change {change}",
                allowed=f"change {known} or later, says {self.path}",
                do=DO,
            )

    def write(self, change: int) -> None:
        """Under the vault's lock, after the vault: a kill in between leaves a vault newer than told, never an older."""
        data = change.to_bytes(8) + self._mac("change", change)
        with entered(self._folder, make=True) as place:
            if private_folder.read(place, self._folder, self._name, LONGEST) != data:
                private_folder.write(place, self._folder, self._name, data)

    def _read(self) -> int | None:
        if not self._folder.exists():
            return None
        with entered(self._folder) as place:
            data = private_folder.read(place, self._folder, self._name, LONGEST)
        if data is None:
            return None
        change = int.from_bytes(data[:8])
        if not hmac.compare_digest(data[8:], self._mac("change", change)):
            raise VaultLocked("the counter of this vault was altered", given=self.path, do=DO)
        return change

    def _mac(self, purpose: str, *parts: int) -> bytes:
        return hmac.digest(self._key, context(f"counter {purpose}", *parts), "sha256")


def after_restoring(change: int, known: int) -> int:
    """The number from which a vault counts on that somebody restored on purpose."""
    return (max(change, known) // RESTORED + 1) * RESTORED
