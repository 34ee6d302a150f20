"""Every error a user can meet, and the exit code it ends a command with.

FedcxrError                      1   never raised itself
├── ConfigError                  2   wrong usage or configuration
│   ├── UnknownName              2   a name that does not exist; offers the nearest one that does
│   ├── OtherVersion             2   what is stored was made by another version of the code
│   └── OtherScenario            2   what is stored was made for another scenario
├── DataError                    3   data missing or unusable
│   └── StorageError             3   the disk refused: read-only, gone
│       └── DiskFull             3   there is no room on a disk
├── TooFewSites                  4   fewer sites answered than the scenario needs
├── Refused                      5   refused for security or policy
│   ├── BadSignature             5   not signed by whom it should be, or altered since
│   ├── WrongEnvelope            5   a genuine envelope, but for somebody or something else
│   ├── BrokenSeal               5   sealed bytes that this key does not open
│   ├── NotGranted               5   an image whose key was not given
│   ├── PrivacySpent             5   more than a site promised its patients of privacy would be spent
│   ├── FenceMissing             5   this machine cannot keep an adversary in
│   └── VaultLocked              5   a wrong passphrase, or a vault that was altered
├── ControlFailed                6   an attack's control failed under --strict
├── TrainingDiverged             1   a loss stopped being a number
├── AttackFailed                 1   an adversary ended without scores
├── EngineBroken                75   the engine died, not a site; worth one more try
└── Interrupted                130   stopped by the user; --resume goes on
"""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable
from pathlib import Path

# Python's own code and everybody's libraries: what is installed beside them, if it is not ours.
LIBRARY = re.compile(r"/python3[\d.]*/(?!site-packages/(?:fedcxr|server|sites)/)")


class FedcxrError(Exception):
    """One line for a person: what is wrong; what was given; what is allowed; what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, given: object = None, allowed: str | None = None, do: str | None = None) -> None:
        parts = [what]
        if given is not None:
            parts.append(f"given: {one_line(given)}")
        if allowed is not None:
            parts.append(f"allowed: {allowed}")
        if do is not None:
            parts.append(do)
        self.do = do
        super().__init__(shown("; ".join(parts)))


class ConfigError(FedcxrError):
    """The command line, a scenario or a plug-in's parameters are wrong."""

    exit_code = 2


class UnknownName(ConfigError):
    """A name that does not exist, with the nearest one that does."""

    def __init__(self, noun: str, given: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
        super().__init__(
            f"unknown {noun}",
            given=given,
            allowed=", ".join(known) or "(none)",
            do=f"did you mean {near[0]!r}?" if near else None,
        )


class OtherVersion(ConfigError):
    """What is stored was made by another version of the code, and is not gone on from."""


class OtherScenario(ConfigError):
    """What is stored was made for another scenario, and is not gone on from."""


class DataError(FedcxrError):
    """Films, tables or shards are missing or unusable."""

    exit_code = 3


class StorageError(DataError):
    """The disk refused to read or write."""


class DiskFull(StorageError):
    """There is no room on a disk."""


class TooFewSites(FedcxrError):
    """Fewer sites answered than the scenario's `min_sites`."""

    exit_code = 4


class Refused(FedcxrError):
    """A security check or a hospital's policy said no."""

    exit_code = 5


class BadSignature(Refused):
    """Not signed by whom it should be, or altered since."""


class WrongEnvelope(Refused):
    """A genuine envelope, but of another sender, recipient or release."""


class BrokenSeal(Refused):
    """Sealed bytes that this key does not open: altered, or of another image, release or codec."""


class NotGranted(Refused):
    """An image whose key was not given."""


class PrivacySpent(Refused):
    """What a site promised its patients does not allow any more learning from their films, or not of this kind."""


class FenceMissing(Refused):
    """This machine cannot keep an adversary from what it must not reach."""


class VaultLocked(Refused):
    """A wrong passphrase, or a vault that was altered."""


class ControlFailed(FedcxrError):
    """An attack's control failed, so its privacy figure proves nothing."""

    exit_code = 6


class TrainingDiverged(FedcxrError):
    """A network's loss became infinite or not a number."""


class AttackFailed(FedcxrError):
    """The adversary's process ended without scores."""


class EngineBroken(FedcxrError):
    """The engine under the sites died; no site is to blame."""

    exit_code = 75  # EX_TEMPFAIL: the launcher starts it once more


class Interrupted(FedcxrError):
    """The user stopped the command."""

    exit_code = 130


def shown(text: str) -> str:
    """A text as a terminal shows it and does not act on it: it may have come from anyone."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def one_line(value: object, limit: int = 200) -> str:
    """What somebody else gave, as text that is safe to show: one line, not too long, nothing a terminal would obey."""
    try:
        text = " ".join(str(value).split())
    except (ValueError, RecursionError):  # a number of too many digits, a list in a list in a list ...
        text = f"a {type(value).__name__} too large to show"
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return printable(text)


def printable(text: str) -> str:
    """The text without anything that a terminal would obey: control characters, escapes, marks of direction."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def place(error: BaseException) -> str:
    """The innermost file and line of our own or a contribution's code, rather than a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not LIBRARY.search(frame.filename)] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
