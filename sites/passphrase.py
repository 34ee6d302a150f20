"""The words that unlock a vault: typed, or read from a file that only its owner can read; never an argument."""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedcxr.errors import ConfigError, DataError, Refused, StorageError

VARIABLE = "FEDCXR_PASSPHRASE_FILE"
NEW_VARIABLE = "FEDCXR_NEW_PASSPHRASE_FILE"  # when one passphrase takes another's place
SHORTEST = 12  # characters
LONGEST = 1024  # bytes


@contextlib.contextmanager
def passphrase() -> Iterator[bytearray]:
    """The passphrase of a vault that is there, overwritten at the end."""
    with _kept(VARIABLE, ["passphrase of the vault: "]) as words:
        yield words


@contextlib.contextmanager
def new_passphrase(variable: str = VARIABLE) -> Iterator[bytearray]:
    """A new passphrase, overwritten at the end: asked for twice, and it must not be short."""
    with _kept(variable, ["new passphrase of the vault: ", "once more: "], SHORTEST) as words:
        yield words


@contextlib.contextmanager
def _kept(variable: str, questions: Sequence[str], shortest: int = 0) -> Iterator[bytearray]:
    named = os.environ.get(variable)
    words = _from_file(Path(named), variable) if named else _asked(questions, variable)
    try:
        if len(words.decode(errors="replace")) < shortest:
            raise Refused("the passphrase is too short", allowed=f"{shortest} characters or more", do="use five words")
        if not words:
            raise Refused("the passphrase is empty", do=f"type it, or name its file in {variable}")
        yield words
    finally:
        words[:] = bytes(len(words))


def _asked(questions: Sequence[str], variable: str) -> bytearray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would echo what is typed
            words, *others = (_plain(getpass.getpass(question)) for question in questions)
    except (getpass.GetPassWarning, EOFError, OSError):
        raise ConfigError("there is no terminal to type the passphrase", do=f"name its file in {variable}") from None
    if any(other != words for other in others):
        raise ConfigError("the two passphrases differ", do="try again")
    return words


def _from_file(path: Path, variable: str) -> bytearray:
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
        raise DataError("the passphrase's file does not exist", given=path, do=f"see {variable}") from None
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
