"""Vaults of the first format, in which the images of all releases lay in the one file: read, and written as today's.

The master keys stay, and old releases can still be opened. The identity is a new one: whoever works out an old one's
public key would have the seed of this one. Grants go: they were made to cards that nobody can write to any more, and a
share was drawn from names that are no longer kept. A new epoch begins, since a release of before says too little of its
request to be gone on with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack

from fedcxr.errors import ConfigError, VaultLocked
from fedcxr.keys import MasterKey
from fedcxr.keys.identity import Identity
from fedcxr.keys.keyring import Epoch, Keyring, ReleaseRecord
from sites.contents import Contents
from sites.counter import Counter
from sites.encrypted_file import EARLIER, EncryptedFile
from sites.films import Films


@dataclass(frozen=True)
class Converted:
    """What a conversion is to tell: whose vault it is, and whom it granted something."""

    site: str
    releases: int
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class _Earlier:
    """A ring of the first format."""

    ring: Keyring  # without releases
    releases: tuple[tuple[str, int, int, str, tuple[str, ...]], ...]  # name, epoch, serial, made, images
    recipients: tuple[str, ...]


def convert(folder: Path, words: bytes | bytearray) -> Converted:
    """Write the vault as today's, under the same passphrase. A kill leaves the old one or the new one."""
    box, told = EncryptedFile.unlock(folder, words, EARLIER), list[Converted]()

    def step(packed: bytes) -> bytes:
        earlier = _read(packed)
        contents = _contents(folder, earlier)
        told.append(Converted(contents.ring.site, len(earlier.releases), earlier.recipients))
        return contents.pack()

    def after(packed: bytes) -> None:
        contents = Contents.unpack(packed)
        Counter(contents.ring.filing_key("counter")).write(contents.change)

    try:
        box.relock(words, box.cost, step, after).close()
    finally:
        box.close()
    return told[0]


def _contents(folder: Path, earlier: _Earlier) -> Contents:
    counter = Counter(earlier.ring.filing_key("counter"))
    if known := counter.claimed():  # keys of the filing are the same ones: this very vault was converted before
        counter.check(0, known)
    releases = (
        (ReleaseRecord(name, epoch, serial, made, "release", "", b"", len(images)), images)
        for name, epoch, serial, made, images in earlier.releases
    )
    contents = Films(folder, earlier.ring).adopted(Contents(earlier.ring), releases)
    return replace(contents, ring=contents.ring.rotated())


def _read(packed: bytes) -> _Earlier:
    found = _unpacked(packed)
    if found is None:  # raised here, for an error of reading may carry what was read along
        raise VaultLocked("this vault holds no key ring of format 1", do="restore it from a copy")
    return found


def _unpacked(packed: bytes) -> _Earlier | None:
    try:
        ring: dict[str, Any] = msgpack.unpackb(packed, raw=False, use_list=False)
        if ring["format"] != EARLIER:
            return None
        site = ring["site"]
        epochs = tuple(Epoch(MasterKey(key, site, epoch), made) for epoch, key, made in ring["epochs"])
        keys = Keyring(Identity.generate(site), epochs, ring["choosing"], serial=ring["serial"])
        recipients = {given[0]: None for given in ring["grants"] if not given[-1]}
        releases = tuple((name, epoch, serial, made, images) for name, epoch, serial, made, images in ring["releases"])
        return _Earlier(keys, releases, tuple(recipients))
    except (msgpack.exceptions.UnpackException, ConfigError, ValueError, TypeError, KeyError, IndexError):
        return None
