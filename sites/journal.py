"""The journal of what has left a hospital: a file of one JSON line for each entry, which the vault vouches for.

Every entry holds the digest of the line before it, and a MAC under a key that only the vault has. So nobody else can
write one, and whoever alters, drops, doubles or moves a line leaves one that does not fit. How many there are and the
digest of the last is for the vault to know (`Head`), whose counter never goes back: so the end cannot be cut off, and
no older journal stands in for this one.

An entry is on the disk before the vault knows of it, and the vault knows of it before anything is signed or granted.
So a kill leaves the journal ahead of the vault at most, never behind. What it is ahead by was neither signed nor
granted, and the next entry says so; the beginning of a line that a kill cut off is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcxr.errors import Refused
from fedcxr.keys import context
from fedcxr.keys.keyring import now
from sites.private_folder import explained

FILE = "journal"  # in the vault's folder, where no profile names another place
FIRST = "0" * 64  # in place of the digest of a line before
MAC = b',"mac":"'  # the last thing on a line, over all that stands before it
LONGEST = 1 << 14  # bytes of a line
LARGEST = 1 << 30  # bytes: two million entries
OPEN = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
DO = "find out who wrote there; put back a copy that fits, or begin anew with `fedcxr keys accept-restored`"


@dataclass(frozen=True)
class Head:
    """What the vault knows of its journal."""

    count: int
    digest: bytes  # of the last line
    path: str


@dataclass(frozen=True)
class Entry:
    """One line: what happened, and what is to be known of it."""

    number: int
    time: str
    what: str
    facts: Mapping[str, Any]
    digest: bytes  # of the whole line


@dataclass(frozen=True)
class Reading:
    """All entries that are whole, each of which fits the one before."""

    entries: tuple[Entry, ...]
    cut: int  # bytes of a line that somebody is writing, or was killed while writing

    def ahead(self, head: Head | None) -> tuple[Entry, ...]:
        """What the vault does not know of: written, and then neither signed nor granted."""
        return self.entries[head.count if head is not None else 0 :]


def read(path: Path, key: bytes | None = None) -> Reading:
    """What is in this file, held against itself; with the vault's key, every entry also against that."""
    with explained(path.parent):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _missing(path) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("the journal is no plain file", given=path, do=DO)
        return _reading(_whole(descriptor, path), path, key)
    finally:
        os.close(descriptor)


class Journal:
    """The journal of an unlocked vault. Under the vault's lock wherever something is written."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key

    def check(self, head: Head | None) -> Reading:
        """All of it, refused where it is not what the vault knows."""
        if head is None and not self._path.exists():
            return Reading((), 0)
        return self._fitting(read(self._path, self._key), head)

    def append(self, head: Head | None, site: str, what: str, facts: Mapping[str, Any]) -> Head:
        """One entry more, on the disk when this returns; what a kill left unfinished is declared void before it."""
        with _opened(self._path, make=head is None) as descriptor:
            reading = self._fitting(_reading(_whole(descriptor, self._path), self._path, self._key), head)
            news = [] if reading.entries else [_beginning(site)]
            if ahead := reading.ahead(head):
                news.append(("void", {"entries": [ahead[0].number, ahead[-1].number]}))
            return self._extended(descriptor, reading, [*news, (what, facts)])

    def adopt(self, head: Head | None, site: str) -> Head:
        """The journal of a vault that was restored on purpose: what is in it since the copy was made did happen.

        One that does not fit is kept aside, and another is begun, which says what the vault knew of it.
        """
        known = None if head is None else {"entries": head.count, "digest": head.digest.hex()}
        try:
            self.check(head)
        except Refused:
            with explained(self._path.parent):
                if os.path.lexists(self._path):
                    self._path.rename(self._path.with_name(f"{self._path.name}.{now().replace(':', '')}"))
            head = None
        with _opened(self._path, make=head is None) as descriptor:
            reading = _reading(_whole(descriptor, self._path), self._path, self._key)
            news = [] if reading.entries else [_beginning(site)]
            return self._extended(descriptor, reading, [*news, ("restored", {"known": known})])

    def _fitting(self, reading: Reading, head: Head | None) -> Reading:
        if head is None:
            return reading
        if len(reading.entries) < head.count:
            raise Refused(
                f"the journal ends too early: entry {len(reading.entries) + 1} is missing",
                given=self._path,
                allowed=f"{head.count} entries, last written to {head.path}",
                do=DO,
            )
        if reading.entries[head.count - 1].digest != head.digest:
            raise _damaged(head.count, self._path, "it is not the entry that the vault knows")
        return reading

    def _extended(self, descriptor: int, reading: Reading, news: list[tuple[str, Mapping[str, Any]]]) -> Head:
        number, digest = len(reading.entries), reading.entries[-1].digest if reading.entries else None
        lines = b""
        for what, facts in news:
            number += 1
            line = _line(number, digest, what, facts, self._key)
            digest, lines = hashlib.sha256(line).digest(), lines + line + b"\n"
        with explained(self._path.parent):
            end = os.fstat(descriptor).st_size - reading.cut
            if end + len(lines) > LARGEST:
                raise Refused("the journal is full", given=self._path, allowed=f"{LARGEST} bytes", do=DO)
            if reading.cut:
                os.ftruncate(descriptor, end)
            with os.fdopen(descriptor, "ab", closefd=False) as file:
                file.write(lines)
            os.fsync(descriptor)
        assert digest is not None
        return Head(number, digest, str(self._path))


@contextlib.contextmanager
def _opened(path: Path, *, make: bool) -> Iterator[int]:
    """The file, opened once and checked: ours, plain, and for nobody else to write. Others may be let to read it."""
    with explained(path.parent):
        if make:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not os.path.lexists(path):
            raise _missing(path)
        descriptor = os.open(path, OPEN, 0o600)
    try:
        status = os.fstat(descriptor)
        others = status.st_uid != os.geteuid() or status.st_mode & OTHERS_MAY_WRITE
        if others or not stat.S_ISREG(status.st_mode):
            raise Refused(
                "others may write the journal, or it is no plain file",
                given=f"{path}, mode {stat.S_IMODE(status.st_mode):04o}, user {status.st_uid}",
                allowed="a file of this user's, which nobody else may write",
            )
        if not status.st_size:
            with explained(path.parent):
                _sync_folder(path.parent)
        yield descriptor
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def _whole(descriptor: int, path: Path) -> bytes:
    with explained(path.parent), os.fdopen(descriptor, "rb", closefd=False) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Refused("the journal is too large", given=path, allowed=f"{LARGEST} bytes", do=DO)
    return data


def _beginning(site: str) -> tuple[str, Mapping[str, Any]]:
    return "begun", {"site": site, "journal": os.urandom(16).hex()}


def _line(number: int, previous: bytes | None, what: str, facts: Mapping[str, Any], key: bytes) -> bytes:
    before = FIRST if previous is None else previous.hex()
    said = {"number": number, "time": now(), "what": what, **facts, "previous": before}
    text = json.dumps(said, separators=(",", ":"), allow_nan=False).encode()[:-1]
    if len(text) > LONGEST // 2:
        raise Refused("too long for an entry of the journal", given=f"{len(text)} bytes", allowed=f"{LONGEST // 2}")
    return text + MAC + _mac(key, text).encode() + b'"}'


def _mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, context("journal entry", text), "sha256").hex()


def _reading(data: bytes, path: Path, key: bytes | None) -> Reading:
    end = data.rfind(b"\n") + 1
    return Reading(tuple(_entries(data[:end].split(b"\n")[:-1], path, key)), len(data) - end)


def _entries(lines: list[bytes], path: Path, key: bytes | None) -> Iterator[Entry]:
    previous = FIRST
    for number, line in enumerate(lines, 1):
        found = _parsed(line)
        if found is None:
            raise _damaged(number, path, "it is no entry")
        entry, before, mac = found
        if entry.number != number or before != previous:
            raise _damaged(number, path, "it does not follow the one before")
        if key is not None and not hmac.compare_digest(mac, _mac(key, line.rpartition(MAC)[0])):
            raise _damaged(number, path, "this vault did not write it")
        previous = entry.digest.hex()
        yield entry


def _parsed(line: bytes) -> tuple[Entry, str, str] | None:
    """The entry, the digest of the line before, and the MAC; None of what is none."""
    if len(line) > LONGEST or not line.isascii():
        return None
    try:
        said: Any = json.loads(line)
        match said:
            case {
                "number": int(number),
                "time": str(time),
                "what": str(what),
                "previous": str(previous),
                "mac": str(mac),
                **facts,
            } if mac.isascii():
                return (
                    Entry(
                        number,
                        time,
                        what,
                        {str(key): value for key, value in facts.items()},
                        hashlib.sha256(line).digest(),
                    ),
                    previous,
                    mac,
                )
    except (ValueError, RecursionError):
        return None
    return None


def _missing(path: Path) -> Refused:
    return Refused("there is no journal here", given=path, do=DO)


def _damaged(number: int, path: Path, why: str) -> Refused:
    return Refused(f"the journal was altered at entry {number}: {why}", given=path, do=DO)
