"""A hospital's key ring on disk, unlocked: what a site and `fedcxr keys` work with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from fedcxr.keys import ReleaseKey
from fedcxr.keys.cards import Card
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Grant, Keyring, ReleaseRecord
from fedcxr.keys.provider import Job
from fedcxr.keys.stream import generator
from fedcxr.learning.spending import Spending
from sites import entries
from sites.budget import Budget
from sites.chain import News
from sites.contents import Contents
from sites.counter import Counter, after_restoring
from sites.counts import Tally
from sites.encrypted_file import Cost, EncryptedFile
from sites.films import Films
from sites.journal import FILE, Head, Journal, Reading
from sites.ledger import Ledger
from sites.passphrase import NEW_VARIABLE, new_passphrase, passphrase

VARIABLE = "FEDCXR_VAULT"

__all__ = ["NEW_VARIABLE", "Cost", "Grant", "Vault", "new_passphrase", "own_folder", "passphrase"]


def own_folder() -> Path:
    """Where a user's vault is unless another folder is named."""
    named = os.environ.get(VARIABLE)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(named) if named else config / "fedcxr" / "vault"


class Vault:
    """Every answer is read from disk, and every change is on disk, synced, before its method returns.

    What it knows of films is written first (`sites.films`), and what is to be entered (`sites.journal`), then the one
    file that names those files is replaced, then a second place is told of the change (`sites.counter`). So a kill
    leaves all of a change or nothing of it.
    """

    def __init__(self, box: EncryptedFile, budget: Budget | None = None, journal: Path | None = None) -> None:
        ring = Contents.unpack(box.read()).ring
        self._box = box
        self._place = journal
        self.budget = budget or Budget()
        self._films = Films(box.folder, ring)
        self._counter = Counter(ring.filing_key("counter"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._box.close()

    # Opening ----------------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, folder: Path, site: str, words: bytes | bytearray, cost: Cost | None = None) -> Vault:
        """A new vault with a new identity and a first master key."""
        box = EncryptedFile.create(folder, words, Contents(Keyring.new(site)).pack(), cost)
        return cls._opened(box, None, None, Vault._told)

    @classmethod
    def unlock(
        cls, folder: Path, words: bytes | bytearray, budget: Budget | None = None, journal: Path | None = None
    ) -> Vault:
        """An existing one, if it is the latest; it begins jobs as far as the budget of their films allows.

        Without a place for the journal it is where it was last, and at first in the vault's folder.
        """
        return cls._opened(EncryptedFile.unlock(folder, words), budget, journal, Vault._settle)

    @classmethod
    def accept_restored(cls, folder: Path, words: bytes | bytearray) -> Vault:
        """A vault that somebody restored on purpose: from now on this copy is the latest.

        What was begun since it was copied is not in it. So it begins a new epoch: no key that may have hidden one
        release hides another.
        """
        return cls._opened(EncryptedFile.unlock(folder, words), None, None, Vault._restored)

    @classmethod
    def _opened(
        cls, box: EncryptedFile, budget: Budget | None, journal: Path | None, first: Callable[[Vault], None]
    ) -> Vault:
        try:
            vault = cls(box, budget, journal)
            first(vault)
        except BaseException:
            box.close()
            raise
        return vault

    def _told(self) -> None:
        self._box.change(lambda packed: packed, self._committed)

    def _settle(self) -> None:
        """Refuse an older copy, and tell the counter of a change that a kill kept from it."""
        if self._contents().change != self._counter.known():
            self._change(lambda ring: ring)

    def _restored(self) -> None:
        def restored(packed: bytes) -> bytes:
            contents = Contents.unpack(packed)
            change = after_restoring(contents.change, self._counter.claimed())
            head = self._journal(contents).adopt(contents.journal, contents.ring.site)
            return replace(contents, ring=contents.ring.rotated(), change=change, journal=head).pack()

        self._box.change(restored, self._committed)

    def relock(self, words: bytes | bytearray, cost: Cost | None = None) -> None:
        """Put the same keys under another passphrase; a copy under the earlier one is an older copy."""
        step = self._checked(lambda contents: contents.holding(contents.ring))
        self._box = self._box.relock(words, cost, step, self._committed)

    # Answers ----------------------------------------------------------------------------------------------------------

    @property
    def ring(self) -> Keyring:
        return self._contents().ring

    @property
    def identity(self) -> Identity:
        """To sign releases with, and to open what others grant."""
        return self.ring.identity

    def stream(self, job: Job, *path: str | int, images: Sequence[str] = ()) -> np.random.Generator:
        """The hospital's own randomness for a job, which nobody else can draw."""
        return generator(self.stream_key(job, *path, images=images))

    def stream_key(self, job: Job, *path: str | int, images: Sequence[str] = ()) -> bytes:
        """What one random stream of a job is drawn from."""
        return self.ring.stream_key(job, *path, images=images)

    def begin(self, job: Job, images: Sequence[str], spending: Spending | None = None) -> ReleaseKey:
        """The key of a job, noted and counted before anything is drawn for it. Row i is called `str(i)`: `images[i]`.

        The same job again is not counted again, and costs nothing, for its answer is the same.
        """
        ring = self._commit(lambda contents: self._films.begun(contents, job, images, self.budget, spending)).ring
        return ring.release_key(ring.made(job.name, ring.epoch))

    def tallies(self, images: Sequence[str]) -> list[Tally]:
        """In how many releases, turns of learning and tests each of these images was."""
        with self._box.alone():  # the file of counts has another name after every change
            return self._films.tallies(self._contents(), images)

    @property
    def ledger(self) -> Ledger:
        """What learning has cost this site's people so far."""
        return self._contents().ledger

    def release_key(self, release: str, epoch: int | None = None) -> ReleaseKey:
        """The key of a release begun earlier."""
        ring = self.ring
        return ring.release_key(ring.made(release, epoch))

    def envelopes(self, job: Job, epoch: int | None = None) -> dict[str, bytes]:
        """Fingerprint -> envelope, for everyone who may open (some of) this release; HPKE makes new ones each time."""
        contents = self._contents()
        return contents.ring.envelopes(self._films.listed(contents, contents.ring.made(job.name, epoch)))

    def rewrapped(self, *, only: str | None = None) -> list[tuple[ReleaseRecord, str, bytes]]:
        """The envelopes of all releases so far, or only those to one fingerprint: release, fingerprint, envelope."""
        contents = self._contents()
        return [
            (made, fingerprint, envelope)
            for made in contents.ring.releases
            for fingerprint, envelope in contents.ring.envelopes(self._films.listed(contents, made)).items()
            if only in (None, fingerprint)
        ]

    # What has left ----------------------------------------------------------------------------------------------------

    def enter(self, what: str, facts: Mapping[str, Any]) -> None:
        """An entry in the journal, on the disk when this returns: for what is signed only then."""
        self._commit(lambda contents: contents.holding(contents.ring), (what, facts))

    def read_journal(self) -> tuple[Reading, Head | None]:
        """What was entered, and what the vault knows of it; refused where that differs."""
        with self._box.alone():
            contents = self._contents()
            return self._journal(contents).check(contents.journal), contents.journal

    def _journal(self, contents: Contents) -> Journal:
        last = self._box.folder / FILE if contents.journal is None else Path(contents.journal.path)
        return Journal(self._place or last, contents.ring.filing_key("journal"))

    # Changes ----------------------------------------------------------------------------------------------------------

    def grant(self, new: Grant) -> Keyring:
        """A list of images is kept as digests of their names, like the images of a release."""
        named = new if new.images is None else replace(new, images=self._films.names(new.images))
        return self._change(lambda ring: ring.granted(named), ("granted", entries.grant(new)))

    def revoke(self, who: str) -> Keyring:
        to = self.ring.recipient(who).fingerprint
        return self._change(lambda ring: ring.revoked(to), ("revoked", {"recipient": to}))

    def accept_card(self, card: Card) -> Keyring:
        """What was granted to a recipient is its next card's."""
        return self._change(lambda ring: ring.accepted(card), ("renewed", {"recipient": card.public.fingerprint}))

    def rotate(self) -> Keyring:
        return self._change(Keyring.rotated)

    def renew(self) -> Keyring:
        return self._change(Keyring.renewed)

    def _change(self, step: Callable[[Keyring], Keyring], news: News | None = None) -> Keyring:
        def changed(contents: Contents) -> Contents:
            ring = step(contents.ring)
            return contents if ring == contents.ring else contents.holding(ring)

        return self._commit(changed, news).ring

    def _commit(self, step: Callable[[Contents], Contents], news: News | None = None) -> Contents:
        return Contents.unpack(self._box.change(self._checked(step, news), self._committed))

    def _checked(self, step: Callable[[Contents], Contents], news: News | None = None) -> Callable[[bytes], bytes]:
        """The step, taken from the latest contents only; what it changes is entered before it counts."""

        def checked(packed: bytes) -> bytes:
            contents = Contents.unpack(packed)
            self._counter.check(contents.change, self._counter.known())
            new = step(contents)
            if news is not None and new is not contents:
                head = self._journal(contents).append(contents.journal, contents.ring.site, news)
                new = replace(new, journal=head)
            return new.pack()

        return checked

    def _committed(self, packed: bytes) -> None:
        """Under the lock, once the change is on disk: nobody was told of it before this returns."""
        contents = Contents.unpack(packed)
        self._counter.write(contents.change)
        self._films.sweep(contents)

    def _contents(self) -> Contents:
        known = self._counter.known()  # before the vault is read: others may change it in between, and only forward
        contents = Contents.unpack(self._box.read())
        self._counter.check(contents.change, known)
        return contents
