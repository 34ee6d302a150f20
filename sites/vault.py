"""A hospital's key ring on disk, unlocked: what a site and `fedcxr keys` work with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from fedcxr.keys import ReleaseKey
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Grant, Keyring, ReleaseRecord
from fedcxr.keys.provider import Job
from fedcxr.keys.stream import generator
from sites.encrypted_file import Cost, EncryptedFile
from sites.passphrase import NEW_VARIABLE, new_passphrase, passphrase

VARIABLE = "FEDCXR_VAULT"

__all__ = ["NEW_VARIABLE", "Cost", "Grant", "Vault", "new_passphrase", "own_folder", "passphrase"]


def own_folder() -> Path:
    """Where a user's vault is unless another folder is named."""
    named = os.environ.get(VARIABLE)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(named) if named else config / "fedcxr" / "vault"


class Vault:
    """Every answer is read from disk, and every change is on disk, synced, before its method returns."""

    def __init__(self, box: EncryptedFile) -> None:
        self._box = box

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._box.close()

    @classmethod
    def create(cls, folder: Path, site: str, words: bytes | bytearray, cost: Cost | None = None) -> Vault:
        """A new vault with a new identity and a first master key."""
        return cls(EncryptedFile.create(folder, words, Keyring.new(site).pack(), cost))

    @classmethod
    def unlock(cls, folder: Path, words: bytes | bytearray) -> Vault:
        return cls(EncryptedFile.unlock(folder, words))

    def relock(self, words: bytes | bytearray, cost: Cost | None = None) -> None:
        """Put the same keys under another passphrase."""
        self._box = self._box.relock(words, cost)

    @property
    def ring(self) -> Keyring:
        return Keyring.unpack(self._box.read())

    @property
    def identity(self) -> Identity:
        """To sign releases with, and to open what others grant."""
        return self.ring.identity

    def stream(self, job: Job, *path: str | int, images: Sequence[str] = ()) -> np.random.Generator:
        """The hospital's own randomness for a job, which nobody else can draw."""
        return generator(self.ring.stream_key(job, *path, images=images))

    def begin(self, job: Job, images: Sequence[str]) -> ReleaseKey:
        """The key of a job, noted before anything is hidden with it. Row i is called `str(i)`: `images[i]`."""
        ring = self._change(lambda ring: ring.begun(job.name, images))
        return ring.release_key(ring.made(job.name, ring.epoch))

    def release_key(self, release: str, epoch: int | None = None) -> ReleaseKey:
        """The key of a release begun earlier."""
        ring = self.ring
        return ring.release_key(ring.made(release, epoch))

    def envelopes(self, job: Job, epoch: int | None = None) -> dict[str, bytes]:
        """Fingerprint -> envelope, for everyone who may open (some of) this release; HPKE makes new ones each time."""
        ring = self.ring
        return ring.envelopes(ring.made(job.name, epoch))

    def rewrapped(self, *, only: str | None = None) -> list[tuple[ReleaseRecord, str, bytes]]:
        """The envelopes of all releases so far, or only those to one fingerprint: release, fingerprint, envelope."""
        ring = self.ring
        return [
            (made, fingerprint, envelope)
            for made in ring.releases
            for fingerprint, envelope in ring.envelopes(made).items()
            if only in (None, fingerprint)
        ]

    def grant(self, new: Grant) -> Keyring:
        return self._change(lambda ring: ring.granted(new))

    def revoke(self, who: str) -> Keyring:
        return self._change(lambda ring: ring.revoked(who))

    def accept_card(self, card: Card) -> Keyring:
        return self._change(lambda ring: ring.accepted(card))

    def rotate(self) -> Keyring:
        return self._change(Keyring.rotated)

    def renew(self) -> Keyring:
        return self._change(Keyring.renewed)

    def _change(self, step: Callable[[Keyring], Keyring]) -> Keyring:
        return Keyring.unpack(self._box.change(lambda packed: step(Keyring.unpack(packed)).pack()))
