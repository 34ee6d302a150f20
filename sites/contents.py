"""What is in a vault's one file: the ring, how often it changed, and the digests of what is kept beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgpack

from fedcxr.errors import VaultLocked
from fedcxr.keys.keyring import Keyring

FORMAT = 2


@dataclass(frozen=True)
class Contents:
    """All that a vault's file says; whoever holds it knows which other files count."""

    ring: Keyring
    change: int = 1  # never goes back, so that an older copy can be told from the latest
    counts: tuple[int, bytes] | None = None  # the file of the films' counts, and its digest
    lists: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))  # of each release's images

    def holding(self, ring: Keyring) -> Contents:
        """The next contents, with this ring."""
        return replace(self, ring=ring, change=self.change + 1)

    def pack(self) -> bytes:
        """With every key in it: for a vault to encrypt."""
        packed: bytes = msgpack.packb([FORMAT, self.ring.pack(), self.change, self.counts, dict(self.lists)])
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> Contents:
        """What `pack` wrote, as a vault has authenticated it."""
        found = _unpacked(data)
        if found is None:  # raised here, for an error of reading may carry what was read along
            raise VaultLocked(
                "this vault holds nothing that this version of fedcxr can read", allowed=f"format {FORMAT}"
            )
        ring, change, counts, lists = found
        return cls(Keyring.unpack(ring), change, counts, lists)


def _unpacked(data: bytes) -> tuple[bytes, int, tuple[int, bytes] | None, Mapping[int, bytes]] | None:
    try:
        form, ring, change, counts, lists = msgpack.unpackb(data, use_list=False, strict_map_key=False)
        return (ring, change, counts, lists) if form == FORMAT else None
    except (msgpack.exceptions.UnpackException, ValueError, TypeError):
        return None
