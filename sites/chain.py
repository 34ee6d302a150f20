"""Lines of JSON, each of which holds the digest of the one before it and a MAC over all that it says."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcxr.errors import Refused
from fedcxr.keys import context
from fedcxr.keys.keyring import now

BEFORE_ALL = bytes(32)  # in place of the digest of a line before
MAC = b',"mac":"'  # the last thing on a line, over all that stands before it
LONGEST = 1 << 14  # bytes of a line
LONGEST_TEXT = LONGEST // 2
DO = "find out who wrote there; put back a copy that fits, or begin anew with `fedcxr keys accept-restored`"

News = tuple[str, Mapping[str, Any]]  # what happens, and what is to be known of it


@dataclass(frozen=True)
class Entry:
    """One line, when it was written, and its digest."""

    number: int
    time: str
    what: str
    facts: Mapping[str, Any]
    digest: bytes  # of the whole line


def lines(number: int, previous: bytes, news: list[News], key: bytes) -> tuple[bytes, bytes]:
    """The lines that follow the one of this number and digest, and the digest of the last."""
    written = b""
    for what, facts in news:
        number += 1
        line = _line(number, previous, what, facts, key)
        written, previous = written + line + b"\n", hashlib.sha256(line).digest()
    return written, previous


def entries(data: bytes, path: Path, key: bytes | None) -> Iterator[Entry]:
    """What these whole lines say; refused from the first that does not fit. Without a key, a MAC may be anything."""
    previous = BEFORE_ALL.hex()
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        found = _parsed(line)
        if found is None:
            raise damaged(number, path, "it is no entry")
        entry, before, mac = found
        if entry.number != number or before != previous:
            raise damaged(number, path, "it does not follow the one before")
        if key is not None and not hmac.compare_digest(mac, _mac(key, line.rpartition(MAC)[0])):
            raise damaged(number, path, "this vault did not write it")
        previous = entry.digest.hex()
        yield entry


def damaged(number: int, path: Path, why: str) -> Refused:
    """What to say of the first line that does not fit."""
    return Refused(f"the journal was altered at entry {number}: {why}", given=path, do=DO)


def _line(number: int, previous: bytes, what: str, facts: Mapping[str, Any], key: bytes) -> bytes:
    said = {"number": number, "time": now(), "what": what, **facts, "previous": previous.hex()}
    text = json.dumps(said, separators=(",", ":"), allow_nan=False).encode()[:-1]
    if len(text) > LONGEST_TEXT:
        raise Refused("too long for an entry of the journal", given=f"{len(text)} bytes", allowed=f"{LONGEST_TEXT}")
    return text + MAC + _mac(key, text).encode() + b'"}'


def _mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, context("journal entry", text), "sha256").hex()


def _parsed(line: bytes) -> tuple[Entry, str, str] | None:
    """The entry, the digest of the line before, and the MAC; None of what is none."""
    if len(line) > LONGEST or not line.isascii():
        return None
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match said:
        case {
            "number": int(number),
            "time": str(time),
            "what": str(what),
            "previous": str(previous),
            "mac": str(mac),
            **more,
        } if mac.isascii():
            facts = {str(name): value for name, value in more.items()}
            return Entry(number, time, what, facts, hashlib.sha256(line).digest()), previous, mac
        case _:
            return None
