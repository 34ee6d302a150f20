"""The journal of what has left a hospital: a file of chained lines (`sites.chain`), which the vault vouches for.

The MAC of every line is under a key that only the vault has. So nobody else can write one, and whoever alters, drops,
doubles or moves a line leaves one that does not fit. How many there are and the digest of the last is for the vault to
know (`Head`), whose counter never goes back: so the end cannot be cut off, and no older journal stands in for this one.

An entry is on the disk before the vault knows of it, and the vault knows of it before anything is signed or granted.
So a kill leaves the journal ahead of the vault at most, never behind. What it is ahead by was neither signed nor
granted, and the next entry says so; the beginning of a line that a kill cut off is removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedcxr.errors import Refused, StorageError
from fedcxr.keys.keyring import now
from fedcxr.storage.disk import full, is_full
from sites.chain import BEFORE_ALL, DO, Entry, News, damaged, entries, lines

FILE = "journal"  # in the vault's folder, where no profile names another place
LARGEST = 1 << 30  # bytes: two million entries
LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
OPEN = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Head:
    """What the vault knows of its journal."""

    count: int
    digest: bytes  # of the last line
    path: str


@dataclass(frozen=True)
class Reading:
    """All entries that are whole, each of which fits the one before."""

    entries: tuple[Entry, ...]
    cut: int  # bytes of a line that somebody is writing, or was killed while writing

    def ahead(self, head: Head | None) -> tuple[Entry, ...]:
        """What the vault does not know of: written, and then neither signed nor granted."""
        return self.entries[head.count if head is not None else 0 :]


def read(path: Path, key: bytes | None = None) -> Reading:
    """What is in this file, held against itself; with the vault's key, every entry also against that.

    Where there is no file nothing was entered, or all of it was taken away: the vault knows which.
    """
    if not os.path.lexists(path):
        return Reading((), 0)
    with _explained(path):
        descriptor = os.open(path, LOOK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("the journal is no plain file", given=path, do=DO)
        return _reading(descriptor, path, key)
    finally:
        os.close(descriptor)


class Journal:
    """The journal of an unlocked vault. Under the vault's lock wherever something is written."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key

    def check(self, head: Head | None) -> Reading:
        """All of it, refused where it is not what the vault knows."""
        if head is not None and not os.path.lexists(self._path):
            raise _missing(self._path, head)
        return self._fitting(read(self._path, self._key), head)

    def append(self, head: Head | None, site: str, news: News) -> Head:
        """One entry more, on the disk when this returns; what a kill left unfinished is declared void before it."""
        with self._opened(head) as descriptor:
            reading = self._fitting(_reading(descriptor, self._path, self._key), head)
            ahead = reading.ahead(head)
            void: list[News] = [("void", {"entries": [ahead[0].number, ahead[-1].number]})] if ahead else []
            return self._extended(descriptor, reading, site, [*void, news])

    def adopt(self, head: Head | None, site: str) -> Head:
        """The journal of a vault that was restored on purpose: what is in it since the copy was made did happen.

        One that does not fit is kept aside, and another is begun, which says what the vault knew of it.
        """
        known = None if head is None else {"entries": head.count, "digest": head.digest.hex()}
        try:
            self.check(head)
        except Refused:
            with _explained(self._path), contextlib.suppress(FileNotFoundError):
                self._path.rename(self._path.with_name(f"{self._path.name}.{now().replace(':', '')}"))
            head = None
        with self._opened(head) as descriptor:
            reading = _reading(descriptor, self._path, self._key)
            return self._extended(descriptor, reading, site, [("restored", {"known": known})])

    def _fitting(self, reading: Reading, head: Head | None) -> Reading:
        if head is None:
            return reading
        if len(reading.entries) < head.count:
            raise Refused(
                f"the journal ends too early: entry {len(reading.entries) + 1} is missing",
                given=self._path,
                allowed=f"{head.count} entries, says the vault",
                do=DO,
            )
        if reading.entries[head.count - 1].digest != head.digest:
            raise damaged(head.count, self._path, "it is not the entry that the vault knows")
        return reading

    @contextlib.contextmanager
    def _opened(self, head: Head | None) -> Iterator[int]:
        """The file, opened once and checked: ours, plain, and for nobody else to write. Others may be let to read."""
        path = self._path
        if head is not None and not os.path.lexists(path):
            raise _missing(path, head)
        with _explained(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
            yield descriptor
        finally:
            os.close(descriptor)

    def _extended(self, descriptor: int, reading: Reading, site: str, news: list[News]) -> Head:
        if not reading.entries:
            news = [("begun", {"site": site, "journal": os.urandom(16).hex()}), *news]
        number, last = len(reading.entries), reading.entries[-1].digest if reading.entries else BEFORE_ALL
        written, digest = lines(number, last, news, self._key)
        with _explained(self._path):
            end = os.fstat(descriptor).st_size - reading.cut
            if end + len(written) > LARGEST:
                raise Refused("the journal is full", given=self._path, allowed=f"{LARGEST} bytes", do=DO)
            if reading.cut:
                os.ftruncate(descriptor, end)
            with os.fdopen(descriptor, "ab", closefd=False) as file:
                file.write(written)
            os.fsync(descriptor)
            if not reading.entries:
                _sync(self._path.parent)
        return Head(number + len(news), digest, str(self._path))


def _reading(descriptor: int, path: Path, key: bytes | None) -> Reading:
    with _explained(path), os.fdopen(descriptor, "rb", closefd=False) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Refused("the journal is too large", given=path, allowed=f"{LARGEST} bytes", do=DO)
    end = data.rfind(b"\n") + 1
    return Reading(tuple(entries(data[:end], path, key)), len(data) - end)


def _sync(folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def _missing(path: Path, head: Head | None = None) -> Refused:
    moved = head is not None and head.path != str(path)
    last = f"{head.count} entries, last written to {head.path}" if head is not None else None
    do = "move it here, or let the profile's `journal` say where it is" if moved else DO
    return Refused("there is no journal here", given=path, allowed=last, do=do)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        if is_full(error):
            raise full(path) from None
        raise StorageError("cannot use the journal", given=path, do=error.strerror or str(error)) from None
