"""The words that unlock a vault: typed, or read from a file that only its owner can read; never an argument."""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

from fedcxr.errors import ConfigError, DataError, Refused, StorageError

VARIABLE = "FEDCXR_PASSPHRASE_FILE"
SHORTEST = 12  # characters
LONGEST = 1024  # bytes


@contextlib.contextmanager
def passphrase(*, new: bool = False) -> Iterator[bytearray]:
    """The passphrase, overwritten at the end; a new one is asked for twice and must not be short."""
    named = os.environ.get(VARIABLE)
    words = _from_file(Path(named)) if named else _asked(new)
    try:
        if new and len(words.decode(errors="replace")) < SHORTEST:
            raise Refused("the passphrase is too short", allowed=f"{SHORTEST} characters or more", do="use five words")
        if not words:
            raise Refused("the passphrase is empty", do=f"type it, or name its file in {VARIABLE}")
        yield words
    finally:
        words[:] = bytes(len(words))


def _asked(new: bool) -> bytearray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would echo what is typed
            words = _plain(getpass.getpass("passphrase of the vault: "))
            if new and _plain(getpass.getpass("once more: ")) != words:
                raise ConfigError("the two passphrases differ", do="try again")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise ConfigError("there is no terminal to type the passphrase", do=f"name its file in {VARIABLE}") from None
    return words


def _from_file(path: Path) -> bytearray:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (0, os.geteuid()):
                raise Refused(
                    "others may read the passphrase's file",
                    given=f"{path}, mode {stat.S_IMODE(status.st_mode):04o}",
                    allowed="0600",
                    do="run chmod 600 on it; if strangers share this machine, make a new vault",
                )
            text = file.read(LONGEST + 1)
    except FileNotFoundError:
        raise DataError("the passphrase's file does not exist", given=path, do=f"see {VARIABLE}") from None
    except OSError as error:
        raise StorageError("cannot read the passphrase's file", given=path, do=error.strerror or "") from None
    if len(text) > LONGEST:
        raise ConfigError("the passphrase's file is too long", given=path, allowed=f"{LONGEST} bytes")
    words = _decoded(text)
    if words is None:  # raised here, for the error of decoding carries the passphrase along
        raise ConfigError("the passphrase's file is not text", given=path, allowed="UTF-8")
    return _plain(words.removesuffix("\n").removesuffix("\r"))


def _decoded(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def _plain(words: str) -> bytearray:
    """The same bytes from every keyboard and system, which may compose accents differently."""
    return bytearray(unicodedata.normalize("NFKC", words).encode("utf-8", "surrogatepass"))
