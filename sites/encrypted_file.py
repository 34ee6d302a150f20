"""One file under a passphrase: whole or absent, for its owner only, and changed by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fedcxr.errors import ConfigError, DataError, FedcxrError, Refused, StorageError, VaultLocked

FILE, DRAFT, LOCK = "vault", "vault.draft", "vault.lock"
MAGIC = b"FCXV"
FORMAT = 1
HEADER = struct.Struct(">4sBBBB16s")  # magic, format, scrypt's log2 n, r and p, salt
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
LARGEST = 1 << 30  # bytes
MOST_MEMORY = 1 << 29  # bytes that a header, which anyone may have written, can make us use
PATIENCE = 10.0  # seconds for another process to finish


@dataclass(frozen=True)
class Cost:
    """What one guess of the passphrase costs: with these, 128 MiB and a third of a second."""

    log_n: int = 17
    r: int = 8
    p: int = 1

    def key(self, passphrase: bytes | bytearray, salt: bytes) -> bytearray:
        key = bytearray(KEY_BYTES)
        Scrypt(salt, KEY_BYTES, n=1 << self.log_n, r=self.r, p=self.p).derive_into(passphrase, key)
        return key

    @property
    def bearable(self) -> bool:
        return 0 < self.log_n < 32 and self.r > 0 and 0 < self.p <= 16 and (128 * self.r) << self.log_n <= MOST_MEMORY


class EncryptedFile:
    """A folder of mode 0700 with one encrypted file in it, unlocked: the key derived from the passphrase is held."""

    def __init__(self, folder: Path, header: bytes, key: bytearray) -> None:
        self.folder = folder
        self._header = header
        self._key = key

    def __repr__(self) -> str:
        return f"EncryptedFile({self.folder}, redacted)"

    @classmethod
    def create(
        cls, folder: Path, passphrase: bytes | bytearray, content: bytes, cost: Cost | None = None
    ) -> EncryptedFile:
        """A new one; an existing one is never replaced."""
        with _explained(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        box = cls._under(folder, passphrase, cost)
        with _entered(folder) as place, _locked(place, folder):
            if _exists(place):
                raise ConfigError("there is a vault already", given=folder, do="choose another --vault")
            box._write(place, content)
        return box

    @classmethod
    def unlock(cls, folder: Path, passphrase: bytes | bytearray) -> EncryptedFile:
        """An existing one; a wrong passphrase is refused."""
        with _entered(folder) as place:
            header, _ = _parts(_contents(place, folder), folder)
        cost, salt = _cost(header, folder)
        try:
            box = cls(folder, header, cost.key(passphrase, salt))
        except (ValueError, MemoryError):
            raise VaultLocked("scrypt cannot be run as this vault says", given=cost, do="was it altered?") from None
        try:
            box.read()
        except BaseException:
            box.close()
            raise
        return box

    @classmethod
    def _under(cls, folder: Path, passphrase: bytes | bytearray, cost: Cost | None) -> EncryptedFile:
        """One that nothing was written to yet, under a fresh salt."""
        cost, salt = cost or Cost(), os.urandom(16)
        header = HEADER.pack(MAGIC, FORMAT, cost.log_n, cost.r, cost.p, salt)
        return cls(folder, header, cost.key(passphrase, salt))

    def relock(self, passphrase: bytes | bytearray, cost: Cost | None = None) -> EncryptedFile:
        """The same content under another passphrase; this one, and whoever else unlocked the old, is locked out."""
        box = self._under(self.folder, passphrase, cost)
        try:
            with _entered(self.folder) as place, _locked(place, self.folder):
                box._write(place, self._read(place))
        except BaseException:
            box.close()
            raise
        self.close()
        return box

    def read(self) -> bytes:
        """What is in it now, which another process may have changed since."""
        with _entered(self.folder) as place:
            return self._read(place)

    def change(self, step: Callable[[bytes], bytes]) -> bytes:
        """Put in it what `step` makes of what is in it; nobody else changes it meanwhile."""
        with _entered(self.folder) as place, _locked(place, self.folder):
            old = self._read(place)
            new = step(old)
            if new != old:
                self._write(place, new)
        return new

    def close(self) -> None:
        """Overwrite the derived key. Python may have copied what was decrypted; that is beyond reach."""
        self._key[:] = bytes(len(self._key))

    def _read(self, place: int) -> bytes:
        header, sealed = _parts(_contents(place, self.folder), self.folder)
        if header != self._header:
            raise VaultLocked("this is another vault than the one unlocked", given=self.folder, do="unlock it again")
        try:
            return AESGCM(self._key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], header)
        except InvalidTag:
            raise VaultLocked(
                "the vault does not open", given=self.folder, do="the passphrase is wrong, or the file was altered"
            ) from None

    def _write(self, place: int, content: bytes) -> None:
        """The whole file or none of it: a kill leaves the old one, and at most one draft for the next to clear."""
        nonce = os.urandom(NONCE_BYTES)
        data = self._header + nonce + AESGCM(self._key).encrypt(nonce, content, self._header)
        with _explained(self.folder):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(DRAFT, dir_fd=place)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(DRAFT, flags, 0o600, dir_fd=place), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(DRAFT, FILE, src_dir_fd=place, dst_dir_fd=place)
                os.fsync(place)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(DRAFT, dir_fd=place)
                raise


@contextlib.contextmanager
def _entered(folder: Path) -> Iterator[int]:
    """The folder, opened once and checked, so that nothing can be put in its place afterwards."""
    with _explained(folder):
        if folder.is_symlink():
            raise Refused("the vault's folder is a symbolic link", given=folder, do="name the folder itself")
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _private(os.fstat(place), folder, "0700")
        yield place
    finally:
        os.close(place)


@contextlib.contextmanager
def _locked(place: int, folder: Path) -> Iterator[None]:
    """Alone among all processes that change this vault. The kernel lets go of the lock however we end."""
    with _explained(folder):
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=place)
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


def _exists(place: int) -> bool:
    return os.access(FILE, os.F_OK, dir_fd=place, follow_symlinks=False)


def _contents(place: int, folder: Path) -> bytes:
    try:
        descriptor = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except FileNotFoundError:
        raise _missing(folder) from None
    except OSError as error:
        raise Refused("the vault's file is not a plain file", given=folder / FILE, do=error.strerror) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("the vault's file is not a plain file", given=folder / FILE)
        _private(status, folder / FILE, "0600")
        with _explained(folder), os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST)
    finally:
        os.close(descriptor)


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


def _parts(data: bytes, folder: Path) -> tuple[bytes, bytes]:
    if not data.startswith(MAGIC) or len(data) < HEADER.size + NONCE_BYTES + TAG_BYTES:
        raise VaultLocked("this file is no vault, or it was cut short", given=folder / FILE)
    if data[len(MAGIC)] != FORMAT:
        raise VaultLocked(
            "this vault was written by another version of fedcxr",
            given=f"format {data[len(MAGIC)]} in {folder / FILE}",
            allowed=f"format {FORMAT}",
        )
    return data[: HEADER.size], data[HEADER.size :]


def _cost(header: bytes, folder: Path) -> tuple[Cost, bytes]:
    _, _, log_n, r, p, salt = HEADER.unpack(header)
    cost = Cost(log_n, r, p)
    if not cost.bearable:
        raise VaultLocked("this vault would take too much memory to unlock; it was altered", given=folder / FILE)
    return cost, salt


def _missing(folder: Path) -> DataError:
    return DataError("there is no vault here", given=folder, do="make one with `fedcxr keys init`, or name its --vault")


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except FedcxrError:
        raise
    except FileNotFoundError:
        raise _missing(folder) from None
    except (NotADirectoryError, FileExistsError):
        raise ConfigError("the vault's folder is not a folder", given=folder, do="choose another --vault") from None
    except OSError as error:
        raise StorageError("cannot use the vault's folder", given=folder, do=error.strerror or str(error)) from None
