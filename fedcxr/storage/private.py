"""Folders and files for their owner's eyes alone, and drafts that nobody else can have planted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fedcxr.errors import ConfigError, DataError, Refused, StorageError

FOLDER, FILE = 0o700, 0o600
OTHERS = 0o077
DRAFT = ".draft"  # how the names of half-written files end
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def nothing_for_others() -> None:
    """Whatever this process and its children make from now on is their user's alone; for the entry of a process."""
    os.umask(OTHERS)


def private_folder(path: Path) -> Path:
    """A folder that nobody but us may enter, made if need be; one that was open is closed, with all that is in it.

    Refused if it is somebody else's, or holds what is: whoever could put that there may have put more.
    """
    if not path.is_symlink():  # a link of our user's own may lead anywhere, to another disk for instance
        _parents(path)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=FOLDER)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        told = os.fstat(handle)
        _demand_ours(told, path)
        if path.is_symlink():
            _demand_ours(path.lstat(), path)
        if told.st_mode & OTHERS:
            os.fchmod(handle, FOLDER)
            _close_below(handle, path)
    finally:
        os.close(handle)
    return path


def write_new(path: Path, data: bytes) -> None:
    """A file that was not there before, and no link; on the disk when this returns."""
    with new_file(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def new_file(path: Path) -> BinaryIO:
    """A file to write that was not there before: what somebody planted under its name is an error."""
    return os.fdopen(os.open(path, NEW, FILE), "wb")


def read_secret(path: Path, noun: str, longest: int) -> bytes:
    """What is in a file that nobody but its owner can read; refused, and left unread, if others may."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            held = os.fstat(file.fileno())
            if held.st_uid not in (0, os.geteuid()) or held.st_mode & OTHERS or not stat.S_ISREG(held.st_mode):
                raise Refused(
                    f"others may read the {noun}",
                    given=f"{path}, mode {stat.S_IMODE(held.st_mode):04o}, user {held.st_uid}",
                    allowed="a plain file of your own, 0600",
                    do="run chmod 600 on it; if strangers share this machine, make a new one",
                )
            data = file.read(longest + 1)
    except FileNotFoundError:
        raise DataError(f"there is no {noun}", given=path) from None
    except OSError as error:
        raise StorageError(f"cannot read the {noun}", given=path, do=error.strerror or "") from None
    if len(data) > longest:
        raise ConfigError(f"this is no {noun}", given=path, allowed=f"{longest} bytes at most")
    return data


def draft_of(path: Path) -> Path:
    """Where to write what shall be `path`: beside it, under a name that nobody knows."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}{DRAFT}")


def sweep_drafts(folder: Path) -> None:
    """Remove what killed writers left below a folder in which nobody else is at work."""
    for where, _, files in os.walk(folder):
        for name in files:
            if name.endswith(DRAFT):
                with contextlib.suppress(OSError):
                    Path(where, name).unlink()


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """While nobody else holds this lock, which the kernel lets go of however we end; BlockingIOError if it is held.

    Whoever may open a lock may hold it for ever, so it must be our own.
    """
    lock = os.open(path, LOCK, FILE)
    try:
        _demand_ours(os.fstat(lock), path)
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _parents(path: Path) -> None:
    """Folders on the way that are not there yet are made private as well."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=FOLDER)
    last = path.parent.resolve()
    for above in (last, *last.parents):
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise Refused(
                "everybody may put another folder in the place of this one",
                given=path,
                do=f"run chmod o-w {above}, or choose another place",
            )


def _demand_ours(told: os.stat_result, path: Path) -> None:
    if told.st_uid != os.geteuid():
        raise Refused(
            "this is somebody else's, and they can read what is put there",
            given=f"{path} of user {told.st_uid}",
            allowed=f"what belongs to user {os.geteuid()}",
            do="remove it, or choose another place",
        )


def _close_below(handle: int, top: Path) -> None:
    """Take from others what they may do with anything in this folder, following no link."""
    for where, _, names, folder in os.fwalk(".", topdown=True, dir_fd=handle):
        if where != ".":
            _close(folder, top / where)
        for name in names:
            _close_file(name, folder, top / where / name)


def _close_file(name: str, folder: int, path: Path) -> None:
    told = os.stat(name, dir_fd=folder, follow_symlinks=False)
    _demand_ours(told, path)
    if stat.S_ISREG(told.st_mode) and told.st_mode & OTHERS:
        descriptor = os.open(name, LOOK, dir_fd=folder)
        try:
            _close(descriptor, path)
        finally:
            os.close(descriptor)


def _close(descriptor: int, path: Path) -> None:
    told = os.fstat(descriptor)
    _demand_ours(told, path)
    os.fchmod(descriptor, told.st_mode & ~OTHERS & 0o7777)
