"""What a vault keeps beside its ring: encrypted files that never change, each named by a number that the ring knows.

The ring holds the digest of every file that counts. So a new file counts from the moment the ring is replaced, at once
and as a whole; what a kill leaves behind is in no ring, and neither can an older file stand in for a newer one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedcxr.errors import Refused, VaultLocked
from fedcxr.keys import NONCE_BYTES, TAG_BYTES, context
from fedcxr.storage.private import DRAFT
from sites import private_folder
from sites.private_folder import entered, explained

LARGEST = 1 << 28  # bytes: sixteen million images


class Records:
    """The files of one sort, in a folder of their own below the vault's."""

    def __init__(self, vault: Path, sort: str, key: bytes) -> None:
        self._folder = vault / sort
        self._sort = sort
        self._key = AESGCM(key)

    def write(self, number: int, content: bytes) -> bytes:
        """Under the vault's lock, before the ring that names it. Its digest, for that ring to hold."""
        if len(content) > LARGEST:
            raise Refused(
                f"too large for the vault's {self._sort}", given=f"{len(content)} bytes", allowed=f"{LARGEST}"
            )
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._key.encrypt(nonce, content, self._about(number))
        with entered(self._folder, make=True) as place:
            private_folder.write(place, self._folder, str(number), sealed)
        return hashlib.sha256(sealed).digest()

    def read(self, number: int, digest: bytes) -> bytes:
        """What was written under this number and digest; anything else is refused."""
        path = self._folder / str(number)
        with self._entered_for(path) as place:
            sealed = private_folder.read(place, self._folder, str(number), LARGEST + NONCE_BYTES + TAG_BYTES)
        if sealed is None:
            raise _gone(path)
        try:
            if hashlib.sha256(sealed).digest() != digest:
                raise InvalidTag
            return self._key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._about(number))
        except InvalidTag:
            raise VaultLocked("a file of the vault was altered", given=path, do="restore it from a copy") from None

    def sweep(self, kept: Collection[int]) -> None:
        """Under the vault's lock: remove what a kill left behind, or what a newer file took the place of."""
        if not self._folder.is_dir():
            return
        names = {str(number) for number in kept}
        with entered(self._folder) as place, explained(self._folder):
            for name in os.listdir(place):  # noqa: PTH208 (the folder that was checked, whatever its path leads to now)
                ours = name.removesuffix(DRAFT).isdigit()
                if ours and name not in names:
                    os.unlink(name, dir_fd=place)

    def _entered_for(self, path: Path) -> contextlib.AbstractContextManager[int]:
        if not self._folder.exists():
            raise _gone(path)
        return entered(self._folder)

    def _about(self, number: int) -> bytes:
        return context("record", self._sort, number)


def _gone(path: Path) -> VaultLocked:
    return VaultLocked("a file of the vault is gone", given=path, do="restore it from a copy")
