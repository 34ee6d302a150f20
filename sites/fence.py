"""What the process that answers a coordinator may reach: films, code, a cache, and two sockets that it was given.

Landlock closes all other files, the vault's and the passphrase's among them; the filter of system calls lets it start
no process, make no socket and see into no other process. Its key agent and its doorway stay outside.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedcxr.data import cache_folder, secret_file
from fedcxr.errors import FenceMissing, Refused
from fedcxr.fence import landlock, process, seccomp
from fedcxr.fence.places import cards, system
from fedcxr.fence.strength import NEEDED, strength
from sites import passphrase
from sites.counter import counters_folder
from sites.profile import Profile

OURS = ("fedcxr", "sites")  # packages
CALLS = {
    **seccomp.GIVEN_SOCKETS,
    **seccomp.FILES_OF_ITS_OWN,
}


@dataclass(frozen=True)
class Grounds:
    """Where an app may go, besides what any program needs to run."""

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()

    @classmethod
    def of(cls, profile: Profile, file: Path) -> Grounds:
        """What the hospital with the profile in this file takes: refused if the vault or its words lie there."""
        named = [
            str(file),
            *profile.cards,
            *profile.files.values(),
            *profile.fence.reads,
            *_paths(profile.cohort.model_dump()),
        ]
        readable = [Path(name).expanduser() for name in named]
        readable += [*profile.cohort.required_files(), secret_file(), *_code(profile.outside)]
        grounds = cls(_real(readable), _real([cache_folder()]))
        grounds.refuse_within(_secrets(profile))
        return grounds

    def refuse_within(self, secrets: Collection[Path]) -> None:
        """Refuse grounds that one of these lies in."""
        for secret in secrets:
            for around in (*self.readable, *self.writable, *_real(system(OURS))):
                if secret.resolve().is_relative_to(around):
                    raise Refused(
                        "what is to be kept from the app lies where it may read",
                        given=f"{secret}, in {around}",
                        do="keep vault, passphrase, counters and journal in folders of their own",
                    )


def confine(grounds: Grounds, kept: Collection[int], *, weaker: bool) -> str:
    """Fence this process in for good, and say with what; but for these descriptors it keeps none.

    Where the kernel cannot: FenceMissing, unless a `weaker` fence is asked for, which then says what is missing.
    """
    process.alone()
    said, whole = strength()
    if not whole and not weaker:
        raise FenceMissing(
            "this machine cannot fence in what answers a coordinator",
            given=said,
            allowed=NEEDED,
            do="use such a machine, or say `fence: {weaker: true}` in the profile, and trust all code that runs here",
        )
    os.umask(0o077)
    process.leave_no_core()
    process.close_inherited(kept)
    process.give_up_privileges()
    if landlock.version() >= 1:
        # Looked up here and not before: of /proc it is this process's own that may be read.
        landlock.restrict([*_real(system(OURS)), *grounds.readable], [Path("/dev/null"), *grounds.writable], cards())
    if seccomp.supported():
        seccomp.restrict(CALLS)
    return said if whole else f"weaker: {said}"


def _paths(value: object) -> Iterator[str]:
    """Every path that a film's source names, however deep: those that do not depend on where one stands."""
    match value:
        case str() if Path(value).expanduser().is_absolute():
            yield value
        case dict():
            for inner in value.values():
                yield from _paths(inner)
        case list() | tuple():
            for inner in value:
                yield from _paths(inner)


def _code(outside: Collection[str]) -> Iterator[Path]:
    """Where the code lies that this hospital lists; found, and not imported."""
    for name in outside:
        found = importlib.util.find_spec(name.partition(":")[0].partition(".")[0])
        if found is not None and found.submodule_search_locations:
            yield from map(Path, found.submodule_search_locations)
        elif found is not None and found.origin is not None:
            yield Path(found.origin)


def _secrets(profile: Profile) -> list[Path]:
    words = os.environ.get(passphrase.VARIABLE)
    return [profile.vault_folder, counters_folder(), profile.journal_path, *([Path(words)] if words else [])]


def _real(paths: Collection[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path.resolve() for path in paths))
