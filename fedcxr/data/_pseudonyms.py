"""Pseudonyms: patients and films leave a reader only under keyed hashes that belong to one site's secret."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import COLUMNS
from fedcxr.errors import DataError, Refused, StorageError

Noun = Literal["patient", "image"]

VARIABLE = "FEDCXR_SECRET_FILE"
KEY_BYTES = 32
# 80 bits: among a million films two share a pseudonym with probability 4e-13.
SHOWN_BYTES = 10


class Secret:
    """A site's key. It is never shown, copied or written: whoever holds it can test every guess of a name."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise DataError("a site's secret has the wrong length", given=f"{len(key)} bytes", allowed=f"{KEY_BYTES}")
        self._key = key

    def __repr__(self) -> str:
        return "Secret(redacted)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a site's secret is neither pickled nor copied")

    def names(self, noun: Noun, source: str, originals: Iterable[str]) -> list[str]:
        """The pseudonyms of these patients or images; number 7 of another source is somebody else.

        HMAC-SHA256 (RFC 2104), truncated as its section 5 allows.
        """
        context = f"{noun}\0{source}\0".encode()
        messages = (context + name.encode("utf-8", "surrogateescape") for name in originals)
        digests = (hmac.digest(self._key, message, "sha256") for message in messages)
        return [f"{noun[0]}-{digest[:SHOWN_BYTES].hex()}" for digest in digests]


def site_secret(path: Path | None = None) -> Secret:
    """The secret in this file, or in the file FEDCXR_SECRET_FILE names, or in the user's own, made on first use."""
    given = path or _from_environment()
    if given is not None:
        return _read(given)  # never made here: a misspelt path would quietly rename every patient
    own = own_file()
    if not os.access(own, os.F_OK):
        _make(own)
    return _read(own)


def has_secret() -> bool:
    """Whether a secret was made or named; if not, the first use of `site_secret` makes one."""
    return _from_environment() is not None or os.access(own_file(), os.F_OK)


def passing_secret() -> Secret:
    """The site's own if it has one, else one that nobody will see again: a look leaves nothing behind."""
    return site_secret() if has_secret() else Secret(secrets.token_bytes(KEY_BYTES))


def secret_file() -> Path:
    """The file that `site_secret` reads, or made just now."""
    site_secret()
    return _from_environment() or own_file()


def own_file() -> Path:
    """Where a user's secret is kept unless another file is named."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fedcxr" / "site-secret"


def pseudonymous(films: pd.DataFrame, source: str, secret: Secret) -> tuple[pd.DataFrame, npt.NDArray[np.intp]]:
    """The table with pseudonyms for `patient` and `image`, and which row of `films` each of its rows was.

    Rows come in the order of the images' pseudonyms. In the order of a public table they would name everyone.
    """
    index = films.assign(
        image=secret.names("image", source, films["image"]),
        patient=people(films, source, secret),
        source=source,
    )
    order = np.argsort(index["image"].to_numpy(dtype=object)).astype(np.intp)
    columns = [*COLUMNS, *(column for column in index.columns if column not in COLUMNS)]
    return index[columns].iloc[order].reset_index(drop=True), order


def people(films: pd.DataFrame, source: str, secret: Secret) -> npt.NDArray[np.object_]:  # (n,)
    """The pseudonym of each film's patient."""
    codes, patients = pd.factorize(films["patient"])
    return np.array(secret.names("patient", source, patients), dtype=object)[codes]


def _from_environment() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _read(path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4 * KEY_BYTES)
    except FileNotFoundError:
        raise DataError(
            "the file with the site's secret does not exist",
            given=path,
            do=f"make one with (umask 077; openssl rand -hex {KEY_BYTES} > FILE), or unset {VARIABLE}",
        ) from None
    except OSError as error:
        raise StorageError("cannot read the site's secret", given=path, do=error.strerror or "") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise Refused(
            "others may read the site's secret",
            given=f"{path}, mode {stat.S_IMODE(mode):04o}",
            allowed="0600",
            do="run chmod 600 on it; if strangers share this machine, make a new one",
        )
    # Nothing of what was read is shown, not even when it is no secret.
    if not re.fullmatch(rb"[0-9a-fA-F]{%d}\s*" % (2 * KEY_BYTES), text):
        raise DataError("this is no site's secret", given=path, allowed=f"one line of {2 * KEY_BYTES} hex digits")
    return Secret(bytes.fromhex(text.decode().strip()))


def _make(path: Path) -> None:
    """Write a new secret so that it is whole or absent; whoever comes second keeps what the first one made."""
    half = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(half)  # unlike a rename, refuses to replace
    except OSError as error:
        raise StorageError(
            "cannot keep a secret for this site", given=path, do=f"{error.strerror}; name a file in {VARIABLE}"
        ) from None
    finally:
        with suppress(OSError):
            half.unlink()
