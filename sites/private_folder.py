"""A folder that only its owner may enter, with files in it that are whole or absent, changed by one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from fedcxr.errors import ConfigError, DataError, FedcxrError, Refused, StorageError
from fedcxr.storage.disk import full, is_full
from fedcxr.storage.private import DRAFT, LOOK, NEW

PATIENCE = 10.0  # seconds for another process to finish


@contextlib.contextmanager
def entered(folder: Path, *, make: bool = False) -> Iterator[int]:
    """The folder, opened once and checked, so that nothing can be put in its place afterwards."""
    with explained(folder):
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.is_symlink():
            raise Refused("the vault's folder is a symbolic link", given=folder, do="name the folder itself")
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _private(os.fstat(place), folder, "0700")
        yield place
    finally:
        os.close(place)


@contextlib.contextmanager
def locked(place: int, folder: Path, lock_name: str) -> Iterator[None]:
    """Alone among all processes that change what is here. The kernel lets go of the lock however we end."""
    with explained(folder):
        lock = os.open(lock_name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=place)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ConfigError("another process is changing this vault", given=folder, do="try again") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def exists(place: int, name: str) -> bool:
    """Whether anything has this name, also a link that leads nowhere."""
    return os.access(name, os.F_OK, dir_fd=place, follow_symlinks=False)


def read(place: int, folder: Path, name: str, most: int) -> bytes | None:
    """A plain file of ours, of at most so many bytes; None where there is none."""
    path = folder / name
    try:
        descriptor = os.open(name, LOOK, dir_fd=place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused("the vault's file is not a plain file", given=path, do=error.strerror) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("the vault's file is not a plain file", given=path)
        _private(status, path, "0600")
        if status.st_size > most:
            raise Refused(
                "a file of the vault is too large", given=f"{status.st_size} bytes in {path}", allowed=f"{most}"
            )
        with explained(folder), os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def write(place: int, folder: Path, name: str, data: bytes) -> None:
    """The whole file or none of it: a kill leaves the old one, and at most one draft for the next to clear."""
    draft = name + DRAFT
    with explained(folder):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=place)
        try:
            with os.fdopen(os.open(draft, NEW, 0o600, dir_fd=place), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, name, src_dir_fd=place, dst_dir_fd=place)
            os.fsync(place)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft, dir_fd=place)
            raise


def _private(status: os.stat_result, path: Path, allowed: str) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise Refused("the vault belongs to another user", given=path)
    if mode & 0o077:
        raise Refused(
            "others may read or change the vault",
            given=f"{path}, mode {mode:04o}",
            allowed=allowed,
            do=f"run chmod {allowed} on it; if strangers share this machine, make a new vault",
        )


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors a person can act on."""
    try:
        yield
    except FedcxrError:
        raise
    except FileNotFoundError:
        raise missing(folder) from None
    except (NotADirectoryError, FileExistsError):
        raise ConfigError("the vault's folder is not a folder", given=folder, do="choose another --vault") from None
    except OSError as error:
        if is_full(error):
            raise full(folder) from None
        raise StorageError("cannot use the vault's folder", given=folder, do=error.strerror or str(error)) from None


def missing(folder: Path) -> DataError:
    """What to say where a vault should be."""
    return DataError("there is no vault here", given=folder, do="make one with `fedcxr keys init`, or name its --vault")
