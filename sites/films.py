"""What a vault knows of films: which ones a release had, and how often each was in an answer; by digest, never by name.

releases/N      the images of the release that was begun as number N, in its order
counts/N        how often each film was in an answer, as of the vault's change N
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fedcxr.keys.keyring import Keyring, ReleaseRecord, listing
from fedcxr.keys.provider import Job
from fedcxr.learning.spending import Spending
from sites.budget import Budget
from sites.contents import Contents
from sites.counts import Counts, Tally
from sites.records import Records

DIGEST_BYTES = 16  # of an image's name


class Films:
    """Under the vault's lock wherever something is written."""

    def __init__(self, vault: Path, ring: Keyring) -> None:
        self._naming = ring.filing_key("images")
        self._lists = Records(vault, "releases", ring.filing_key("releases"))
        self._counts = Records(vault, "counts", ring.filing_key("counts"))

    def digests(self, images: Sequence[str]) -> list[bytes]:
        """What the vault calls these images: nobody without its key can tell whether a name is among them."""
        key = self._naming
        return [
            hashlib.blake2b(image.encode("utf-8", "surrogatepass"), key=key, digest_size=DIGEST_BYTES).digest()
            for image in images
        ]

    def names(self, images: Sequence[str]) -> tuple[str, ...]:
        """The same, as a ring takes them."""
        return tuple(digest.hex() for digest in self.digests(images))

    def begun(
        self, contents: Contents, job: Job, images: Sequence[str], budget: Budget, spending: Spending | None = None
    ) -> Contents:
        """The contents that know of this job, its films and its cost counted; the same ones if it was begun before."""
        films = self.digests(images)
        ring = contents.ring.begun(job, [film.hex() for film in films])
        if ring == contents.ring:
            return contents
        counts = self._read(contents).within(job.kind, films, budget)
        ledger = contents.ledger.after(job, spending, budget.privacy)
        self.sweep(contents)  # before anything is written: kills must not fill the disk
        new, lists = contents.holding(ring), dict(contents.lists)
        if job.kind == "release":
            lists[ring.serial] = self._lists.write(ring.serial, b"".join(films))
        written = new.change, self._counts.write(new.change, counts.pack())
        return replace(new, counts=written, lists=lists, ledger=ledger)

    def adopted(self, contents: Contents, releases: Iterable[tuple[ReleaseRecord, Sequence[str]]]) -> Contents:
        """The contents with releases that were made before there was a budget: counted, and none refused."""
        jobs, lists, counts = list(contents.ring.jobs), dict(contents.lists), self._read(contents)
        for made, images in releases:
            films = self.digests(images)
            jobs.append(replace(made, listed=listing([film.hex() for film in films]), films=len(films)))
            lists[made.serial] = self._lists.write(made.serial, b"".join(films))
            counts = counts.counting("release", films)
        new = contents.holding(replace(contents.ring, jobs=tuple(jobs)))
        return replace(new, counts=(new.change, self._counts.write(new.change, counts.pack())), lists=lists)

    def tallies(self, contents: Contents, images: Sequence[str]) -> list[Tally]:
        """In how many releases, turns of learning and tests each of these images was."""
        counts = self._read(contents)
        return [counts.of(film) for film in self.digests(images)]

    def listed(self, contents: Contents, made: ReleaseRecord) -> ReleaseRecord:
        """The release with its images at hand."""
        films = self._lists.read(made.serial, contents.lists[made.serial])
        names = (films[i : i + DIGEST_BYTES].hex() for i in range(0, len(films), DIGEST_BYTES))
        return replace(made, images=tuple(names))

    def sweep(self, contents: Contents) -> None:
        """Remove what these contents do not name."""
        self._lists.sweep(contents.lists)
        self._counts.sweep(contents.counts[:1] if contents.counts is not None else ())

    def _read(self, contents: Contents) -> Counts:
        return Counts({}) if contents.counts is None else Counts.unpack(self._counts.read(*contents.counts))
