"""The files that `fedcxr keys` reads and writes: cards, lists of images, envelopes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcxr.errors import ConfigError, DataError, StorageError

if TYPE_CHECKING:
    from fedcxr.keys.cards import Card

LARGEST_INPUT = 1 << 28  # bytes


def read_card(path: Path) -> Card:
    """Somebody's card, whole; whose it is, its fingerprint tells."""
    from fedcxr.keys.cards import LONGEST, Card

    return Card.read(read_text(path, LONGEST))


def write_card(path: Path | None, card: Card) -> None:
    """A card for others, where one is asked for."""
    from fedcxr.storage.disk import write_atomic

    if path is not None:
        write_atomic(path, card.text.encode())


def write_envelopes(out: Path | None, made: list[Any]) -> list[str]:
    """One file per release and recipient; what they are called says nothing that must be trusted."""
    from fedcxr.storage.disk import explained, write_atomic

    if out is None:
        return []
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    written = []
    for release, fingerprint, envelope in made:
        path = out / f"{release.serial}-epoch-{release.epoch}-to-{fingerprint[:16]}.envelope"
        write_atomic(path, envelope)
        written.append(str(path))
    return written


def read_text(path: Path, most: int = LARGEST_INPUT) -> str:
    """A file of text that somebody may have sent."""
    try:
        return read_bytes(path, most).decode()
    except UnicodeDecodeError:
        raise ConfigError("this file is not text", given=path, allowed="UTF-8") from None


def read_bytes(path: Path, most: int = LARGEST_INPUT) -> bytes:
    """A file that somebody may have sent; what it says of its size is not believed."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise DataError("this file does not exist", given=path) from None
    except OSError as error:
        raise StorageError("cannot read this file", given=path, do=error.strerror or "") from None
    if len(data) > most:
        raise ConfigError("this file is too large", given=path, allowed=f"{most} bytes")
    return data
