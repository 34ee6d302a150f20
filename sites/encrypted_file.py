"""One file under a passphrase: whole or absent, for its owner only, and changed by one process at a time."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fedcxr.errors import ConfigError, Refused, VaultLocked
from fedcxr.storage import private
from sites import private_folder
from sites.private_folder import entered, exists, explained, locked, missing

FILE, LOCK = "vault", "vault.lock"
DRAFT = FILE + private.DRAFT
MAGIC = b"FCXV"
FORMAT = 2
EARLIER = 1  # the format of vaults that kept the images of all releases in this one file
HEADER = struct.Struct(">4sBBBB16s")  # magic, format, scrypt's log2 n, r and p, salt
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
LARGEST = 1 << 26  # bytes: a hundred thousand jobs
LARGEST_EARLIER = (1 << 31) - 1  # what AES-GCM decrypts at once here: also those that could be written and not read
MOST_MEMORY = 1 << 29  # bytes that a header, which anyone may have written, can make us use
MOST_WORK = 1 << 29  # bytes that it can make us mix: four times what ours do, or two seconds

Step = Callable[[bytes], bytes]  # what is to be in the file, of what is in it
After = Callable[[bytes], object]  # told what is in the file now, before anybody else may change it


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
        """Whether this is neither too much memory nor too much time: p rounds mix the whole memory, one by one."""
        if not (0 < self.log_n < 32 and self.r > 0 and self.p > 0):
            return False
        memory = (128 * self.r) << self.log_n
        return memory <= MOST_MEMORY and memory * self.p <= MOST_WORK


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
        with explained(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        box = cls._under(folder, passphrase, cost)
        with entered(folder) as place, locked(place, folder, LOCK):
            if exists(place, FILE):
                raise ConfigError("there is a vault already", given=folder, do="choose another --vault")
            box._write(place, content)
        return box

    @classmethod
    def unlock(cls, folder: Path, passphrase: bytes | bytearray, form: int = FORMAT) -> EncryptedFile:
        """An existing one; a wrong passphrase is refused."""
        with entered(folder) as place:
            header, _ = _parts(_contents(place, folder, form), folder)
        if header[len(MAGIC)] != form:
            raise VaultLocked(
                "this vault was written by another version of fedcxr",
                given=f"format {header[len(MAGIC)]} in {folder / FILE}",
                allowed=f"format {form}",
                do="run `fedcxr keys convert`" if header[len(MAGIC)] == EARLIER else None,
            )
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

    @property
    def cost(self) -> Cost:
        return _cost(self._header, self.folder)[0]

    def relock(
        self,
        passphrase: bytes | bytearray,
        cost: Cost | None = None,
        step: Step = lambda content: content,
        after: After = lambda content: None,
    ) -> EncryptedFile:
        """What `step` makes of the content under another passphrase; whoever unlocked the old file is locked out."""
        box = self._under(self.folder, passphrase, cost)
        try:
            with entered(self.folder) as place, locked(place, self.folder, LOCK):
                new = step(self._read(place))
                box._write(place, new)
                after(new)
        except BaseException:
            box.close()
            raise
        self.close()
        return box

    def read(self) -> bytes:
        """What is in it now, which another process may have changed since."""
        with entered(self.folder) as place:
            return self._read(place)

    def change(self, step: Step, after: After = lambda content: None) -> bytes:
        """Put in it what `step` makes of what is in it, then tell `after`; nobody else changes it meanwhile."""
        with entered(self.folder) as place, locked(place, self.folder, LOCK):
            old = self._read(place)
            new = step(old)
            if new != old:
                self._write(place, new)
            after(new)
        return new

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody changes it."""
        with entered(self.folder) as place, locked(place, self.folder, LOCK):
            yield

    def close(self) -> None:
        """Overwrite the derived key. Python may have copied what was decrypted; that is beyond reach."""
        self._key[:] = bytes(len(self._key))

    def _read(self, place: int) -> bytes:
        header, sealed = _parts(_contents(place, self.folder, self._header[len(MAGIC)]), self.folder)
        if header != self._header:
            raise VaultLocked("this is another vault than the one unlocked", given=self.folder, do="unlock it again")
        try:
            return AESGCM(self._key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], header)
        except InvalidTag:
            raise VaultLocked(
                "the vault does not open", given=self.folder, do="the passphrase is wrong, or the file was altered"
            ) from None

    def _write(self, place: int, content: bytes) -> None:
        size = HEADER.size + NONCE_BYTES + len(content) + TAG_BYTES
        if size > LARGEST:  # before anything is written, for a file that cannot be read again is a vault lost
            raise Refused(
                "the vault is full", given=f"{size} bytes", allowed=f"{LARGEST}", do="make a new one for what comes"
            )
        nonce = os.urandom(NONCE_BYTES)
        data = self._header + nonce + AESGCM(self._key).encrypt(nonce, content, self._header)
        private_folder.write(place, self.folder, FILE, data)


def _contents(place: int, folder: Path, form: int) -> bytes:
    data = private_folder.read(place, folder, FILE, LARGEST if form == FORMAT else LARGEST_EARLIER)
    if data is None:
        raise missing(folder)
    return data


def _parts(data: bytes, folder: Path) -> tuple[bytes, bytes]:
    if not data.startswith(MAGIC) or len(data) < HEADER.size + NONCE_BYTES + TAG_BYTES:
        raise VaultLocked("this file is no vault, or it was cut short", given=folder / FILE)
    return data[: HEADER.size], data[HEADER.size :]


def _cost(header: bytes, folder: Path) -> tuple[Cost, bytes]:
    _, _, log_n, r, p, salt = HEADER.unpack(header)
    cost = Cost(log_n, r, p)
    if not cost.bearable:
        raise VaultLocked(
            "this vault would take too much memory or time to unlock; it was altered", given=folder / FILE
        )
    return cost, salt
