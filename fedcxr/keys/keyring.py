"""What a hospital keeps about its keys: its identity, a master key per epoch, its releases, and who was given what."""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgpack

from fedcxr.errors import ConfigError, Refused, UnknownName, VaultLocked
from fedcxr.keys import MasterKey, ReleaseKey, check_name, context
from fedcxr.keys.cards import Card
from fedcxr.keys.envelopes import grant
from fedcxr.keys.identity import Identity, PublicIdentity
from fedcxr.keys.provider import Job, Work
from fedcxr.keys.stream import KEY_BYTES

FORMAT = 2
SHORTEST_PREFIX = 8  # hex digits of a fingerprint


def now() -> str:
    """The time, for people to read; what comes first is told by serial numbers."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def known_as(name: str) -> str:
    """What a name is to people: one written in capitals, wide letters or with blanks around it is no other name."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


@dataclass(frozen=True)
class Epoch:
    """A master key and when it was made."""

    key: MasterKey
    made: str


@dataclass(frozen=True)
class ReleaseRecord:
    """A release that was begun, or another job: row i of it is the image that this hospital calls `images[i]`.

    The ring does not keep the images, of which there may be a hundred thousand, but tells them by their digest.
    """

    release: str  # the job's name: for a release, its run's
    epoch: int
    serial: int
    made: str
    kind: Work
    request: str  # the job's digest
    listed: bytes = field(repr=False)  # the digest of the images
    films: int
    images: tuple[str, ...] = field(default=(), repr=False)  # where they are at hand


@dataclass(frozen=True)
class Grant:
    """To whom, which images, of which releases."""

    recipient: PublicIdentity
    images: tuple[str, ...] | None = field(default=None, repr=False)  # None: not a list
    share: float = 1.0  # of the images
    releases: tuple[str, ...] = ()  # none named: every release that is begun after the grant
    since: int = 0
    made: str = ""
    revoked: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError("a share is more than 0 and at most 1", given=self.share)
        if self.images is not None and (not self.images or self.share != 1):
            raise ConfigError("a list of images is not empty and not shared in part", given=len(self.images))

    @property
    def what(self) -> str:
        """All, a list or a share, in words."""
        if self.images is not None:
            return f"list of {len(self.images)}"
        return "all" if self.share == 1 else f"share {self.share:g}"

    def covers(self, made: ReleaseRecord) -> bool:
        return made.release in self.releases if self.releases else made.serial > self.since


@dataclass(frozen=True)
class Keyring:
    """All of it. Every step gives a new ring; nothing is ever taken out, so old releases stay within reach."""

    identity: Identity
    epochs: tuple[Epoch, ...]
    choosing: bytes = field(repr=False)  # decides which images make up a share: the same ones in every epoch
    earlier: tuple[Identity, ...] = ()  # whom others may still write to
    jobs: tuple[ReleaseRecord, ...] = ()
    grants: tuple[Grant, ...] = ()
    serial: int = 0

    @classmethod
    def new(cls, site: str) -> Keyring:
        check_name("site", site)
        return cls(Identity.generate(site), (Epoch(MasterKey.generate(site, 1), now()),), os.urandom(KEY_BYTES))

    @property
    def site(self) -> str:
        return self.identity.public.name

    @property
    def epoch(self) -> int:
        return self.epochs[-1].key.epoch

    # Releases ---------------------------------------------------------------------------------------------------------

    @property
    def releases(self) -> tuple[ReleaseRecord, ...]:
        """What may have left under a key that others were given; other jobs have no keys to give."""
        return tuple(made for made in self.jobs if made.kind == "release")

    def begun(self, job: Job, images: Sequence[str]) -> Keyring:
        """The ring that knows of this job in this epoch. The same one may be begun again, to go on with it."""
        check_name("release", job.name)
        listed = listing(images)
        known = next((made for made in self.jobs if (made.release, made.epoch) == (job.name, self.epoch)), None)
        if known is None:
            serial = self.serial + 1
            made = ReleaseRecord(
                job.name, self.epoch, serial, now(), job.kind, job.digest, listed, len(images), tuple(images)
            )
            return replace(self, jobs=(*self.jobs, made), serial=serial)
        if known.listed != listed:
            # Two images under one key would be hidden alike, and what hides one would give away the other.
            raise Refused("this release was begun with other images", given=job.name, do="give the new one a new name")
        if (known.kind, known.request) != (job.kind, job.digest):
            # Two answers under one key would share their noise, and their difference would give away what it hides.
            raise Refused("this release was begun for another request", given=job.name, do="give the run a new name")
        if known.kind == "release" and any(given.revoked and given.covers(known) for given in self.grants):
            raise Refused(
                "somebody who holds keys of this release was revoked since",
                given=job.name,
                do="run `fedcxr keys rotate`, or give the new one a new name",
            )
        return self

    def made(self, release: str, epoch: int | None = None) -> ReleaseRecord:
        """A release or another job that was begun, the latest of that name unless an epoch is given."""
        for made in reversed(self.jobs):
            if made.release == release and epoch in (None, made.epoch):
                return made
        raise UnknownName("release", release, {made.release for made in self.jobs})

    def release_key(self, made: ReleaseRecord) -> ReleaseKey:
        return next(e.key for e in self.epochs if e.key.epoch == made.epoch).release_key(made.release)

    def stream_key(self, job: Job, *path: str | int, images: Sequence[str] = ()) -> bytes:
        """For what is random about a job in this epoch; the same when it is gone on with."""
        return self.epochs[-1].key.stream_key(job.name, job.digest, listing(images), *path)

    def filing_key(self, purpose: str) -> bytes:
        """For what is kept beside the ring, and for digests of images' names; the same in every epoch."""
        return hmac.digest(self.choosing, context("filing", purpose), "sha256")

    def envelopes(self, made: ReleaseRecord) -> dict[str, bytes]:
        """For each recipient who is to have any key of this release and was not revoked: fingerprint -> envelope.

        A list or a share of its images needs them at hand.
        """
        key = self.release_key(made)
        given: dict[str, list[Grant]] = {}
        for one in self.grants:
            if not one.revoked and one.covers(made):
                given.setdefault(one.recipient.fingerprint, []).append(one)
        sealed = {}
        for fingerprint, grants in given.items():
            recipient = grants[0].recipient
            if any(one.what == "all" for one in grants):
                sealed[fingerprint] = grant(key, self.identity, recipient)
            elif rows := sorted({row for one in grants for row in self._rows(one, made)}):
                sealed[fingerprint] = grant(key.only(map(str, rows)), self.identity, recipient)
        return sealed

    def _rows(self, one: Grant, made: ReleaseRecord) -> set[int]:
        if one.images is not None:
            listed = set(one.images)
            return {row for row, image in enumerate(made.images) if image in listed}
        return {row for row, image in enumerate(made.images) if self._chosen(one, image)}

    def _chosen(self, one: Grant, image: str) -> bool:
        """Whether an image is in a share. A larger share has all of a smaller one's, release after release.

        A share is somebody's and not a key's: whoever comes with a new card, however often, finds the same images open.
        """
        digest = hmac.digest(self.choosing, context("share", known_as(one.recipient.name), image), "sha256")
        return int.from_bytes(digest[:8]) < one.share * 2.0**64

    # Recipients -------------------------------------------------------------------------------------------------------

    def granted(self, new: Grant) -> Keyring:
        """The ring with one grant more."""
        for name in new.releases:
            check_name("release", name)
        for old in self.grants:
            same_name = known_as(old.recipient.name) == known_as(new.recipient.name)
            if same_name and not old.revoked and old.recipient.fingerprint != new.recipient.fingerprint:
                raise Refused(
                    "this site is known by another fingerprint",
                    given=str(new.recipient),
                    allowed=str(old.recipient),
                    do="if the known one signed the new one, `fedcxr keys accept`; else ask the site, and revoke",
                )
        return replace(
            self, grants=(*self.grants, replace(new, since=self.serial, made=now(), revoked="")), serial=self.serial + 1
        )

    def accepted(self, card: Card) -> Keyring:
        """The ring in which a recipient's next card, which the present one signed, takes over what that was granted."""
        new = card.public
        current = {given.recipient for given in self.grants if given.recipient.name == new.name and not given.revoked}
        if not current:
            raise Refused(
                "no grant is waiting for this card",
                given=str(new),
                do="nothing was granted under this name, or it was revoked: compare the fingerprint and grant anew",
            )
        for known in current - {new}:
            card.check_follows(known)
        return replace(
            self,
            grants=tuple(
                replace(given, recipient=new) if given.recipient.name == new.name and not given.revoked else given
                for given in self.grants
            ),
        )

    def recipient(self, who: str) -> PublicIdentity:
        """The recipient of this name, or whose fingerprint begins so."""
        known = {given.recipient.fingerprint: given.recipient for given in self.grants}
        found = [one for one in known.values() if one.name == who]
        if len(who) >= SHORTEST_PREFIX:
            found += [one for fingerprint, one in known.items() if fingerprint.startswith(who.lower())]
        current = [one for one in found if any(g.recipient == one and not g.revoked for g in self.grants)]
        if not found:
            raise UnknownName("recipient", who, {one.name for one in known.values()})
        if len({one.fingerprint for one in current or found}) > 1:
            raise ConfigError("several recipients are meant", given=who, do="give more digits of the fingerprint")
        return (current or found)[0]

    def revoked(self, who: str) -> Keyring:
        """The ring in which nothing more is given to this recipient."""
        recipient = self.recipient(who)
        return replace(
            self,
            grants=tuple(
                replace(given, revoked=now()) if given.recipient == recipient and not given.revoked else given
                for given in self.grants
            ),
        )

    def rotated(self) -> Keyring:
        """The ring with a new master key, for all releases from now on."""
        return replace(self, epochs=(*self.epochs, Epoch(MasterKey.generate(self.site, self.epoch + 1), now())))

    # Who we are -------------------------------------------------------------------------------------------------------

    def renewed(self) -> Keyring:
        """The ring of the same site with new keys to sign with and to be written to."""
        return replace(self, identity=Identity.generate(self.site), earlier=(*self.earlier, self.identity))

    @property
    def card(self) -> Card:
        """Who we are, signed by who we were."""
        return Card.issue(self.identity, self.earlier)

    def addressed(self, fingerprint: str) -> Identity:
        """Which of our identities is meant; the present one if none is, for it to say so."""
        own = (self.identity, *self.earlier)
        return next((one for one in own if one.public.fingerprint == fingerprint), self.identity)

    # As bytes ---------------------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """With every key in it: for a vault to encrypt."""
        packed: bytes = msgpack.packb(
            {
                "format": FORMAT,
                "site": self.site,
                "identity": self.identity.reveal(),
                "earlier": [old.reveal() for old in self.earlier],
                "choosing": self.choosing,
                "serial": self.serial,
                "epochs": [[e.key.epoch, e.key.reveal(), e.made] for e in self.epochs],
                "jobs": [
                    [m.release, m.epoch, m.serial, m.made, m.kind, m.request, m.listed, m.films] for m in self.jobs
                ],
                "grants": [_plain(given) for given in self.grants],
            },
            use_bin_type=True,
        )
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> Keyring:
        """What `pack` wrote, as a vault has authenticated it."""
        ring = _unpacked(data)
        if ring is None:  # raised here, for an error of reading may carry what was read along
            raise VaultLocked(
                "this vault holds no key ring that this version of fedcxr can read", allowed=f"format {FORMAT}"
            )
        return ring


def listing(images: Sequence[str]) -> bytes:
    """The digest of these images in this order."""
    return hashlib.sha256(context("images", *images)).digest()


def _unpacked(data: bytes) -> Keyring | None:
    try:
        ring = msgpack.unpackb(data, raw=False, use_list=False)
        if ring["format"] != FORMAT:
            return None
        site = ring["site"]
        return Keyring(
            identity=Identity(ring["identity"], site),
            earlier=tuple(Identity(key, site) for key in ring["earlier"]),
            epochs=tuple(Epoch(MasterKey(key, site, epoch), made) for epoch, key, made in ring["epochs"]),
            choosing=ring["choosing"],
            jobs=tuple(ReleaseRecord(*made) for made in ring["jobs"]),
            grants=tuple(Grant(PublicIdentity(*given[:3]), *given[3:]) for given in ring["grants"]),
            serial=ring["serial"],
        )
    except (msgpack.exceptions.UnpackException, ConfigError, ValueError, TypeError, KeyError):
        return None


def _plain(given: Grant) -> list[object]:
    to = given.recipient
    what = [given.images, given.share, given.releases, given.since, given.made, given.revoked]
    return [to.name, to.verifying, to.sealing, *what]
