"""The coordinator's identity in a file: with it requests are signed, and what hospitals grant the coordinator opens.

A file of 64 bytes, its seed, for its owner's eyes alone. Whoever has it can ask every hospital in the coordinator's
name, so it is made where it is used and never shown. Hospitals get the card.
"""

from __future__ import annotations

from pathlib import Path

from fedcxr.errors import ConfigError
from fedcxr.keys.identity import Identity
from fedcxr.keys.provider import SERVER
from fedcxr.storage.private import read_secret, write_new

NOUN = "coordinator's identity"


def make_identity(path: Path) -> Identity:
    """A new identity, in a file that was not there before."""
    identity = Identity.generate(SERVER)
    write_new(path, identity.reveal())
    return identity


def read_identity(path: Path) -> Identity:
    """The identity in this file, refused if others may read it."""
    seed = read_secret(path, NOUN, Identity.length)
    if len(seed) != Identity.length:
        raise ConfigError(f"this is no {NOUN}", given=path, allowed=f"{Identity.length} bytes")
    return Identity(seed, SERVER)
