"""What is in a vault's one file: the ring, how often it changed, what was spent, and digests of what lies beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import msgpack

from fedcxr.errors import VaultLocked
from fedcxr.keys.keyring import Keyring
from sites.journal import Head
from sites.ledger import Ledger

FORMAT = 4
WITHOUT_JOURNAL = 3  # the format of before: nothing was entered
WITHOUT_LEDGER = 2  # and the one before that: nothing was spent


@dataclass(frozen=True)
class Contents:
    """All that a vault's file says; whoever holds it knows which other files count."""

    ring: Keyring
    change: int = 1  # never goes back, so that an older copy can be told from the latest
    counts: tuple[int, bytes] | None = None  # the file of the films' counts, and its digest
    lists: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))  # of each release's images
    ledger: Ledger = field(default_factory=Ledger)  # what learning has cost the site's people
    journal: Head | None = None  # how far what has left is entered; None: nothing is yet

    def holding(self, ring: Keyring) -> Contents:
        """The next contents, with this ring."""
        return replace(self, ring=ring, change=self.change + 1)

    def pack(self) -> bytes:
        """With every key in it: for a vault to encrypt."""
        head = None if self.journal is None else astuple(self.journal)
        said = [FORMAT, self.ring.pack(), self.change, self.counts, dict(self.lists), self.ledger.pack(), head]
        packed: bytes = msgpack.packb(said)
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> Contents:
        """What `pack` wrote, as a vault has authenticated it."""
        found = _unpacked(data)
        if found is None:  # raised here, for an error of reading may carry what was read along
            raise VaultLocked(
                "this vault holds nothing that this version of fedcxr can read",
                allowed=f"formats {WITHOUT_LEDGER} to {FORMAT}",
            )
        ring, change, counts, lists, spent, head = found
        journal = None if head is None else Head(*head)
        return cls(Keyring.unpack(ring), change, counts, lists, Ledger.unpack(spent), journal)


Found = tuple[bytes, int, tuple[int, bytes] | None, Mapping[int, bytes], tuple[Any, ...], tuple[int, bytes, str] | None]


def _unpacked(data: bytes) -> Found | None:
    try:
        match msgpack.unpackb(data, use_list=False, strict_map_key=False):
            case (int(form), ring, change, counts, lists, spent, head) if form == FORMAT:
                return ring, change, counts, lists, spent, head
            case (int(form), ring, change, counts, lists, spent) if form == WITHOUT_JOURNAL:
                return ring, change, counts, lists, spent, None
            case (int(form), ring, change, counts, lists) if form == WITHOUT_LEDGER:
                return ring, change, counts, lists, (), None
    except (msgpack.exceptions.UnpackException, ValueError, TypeError):
        return None
    return None
