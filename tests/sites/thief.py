"""Foreign code in a site's process, after the vault was unlocked: takes all that it can reach. Run by test_agent.py.

    thief.py VAULT LOOT

What it took lies in the folder LOOT afterwards; what it may have is in `allowed`. Whoever runs it looks for the keys,
for in this process a search would find what it searches with.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fedcxr.keys.provider import Job, KeyProvider
from sites.premises import Hospital

JOB = Job("release", "spring", digest="ab" * 32)


def memory() -> Iterator[bytes]:
    """Whatever this process may write to."""
    with Path("/proc/self/maps").open() as maps, Path("/proc/self/mem").open("rb", buffering=0) as mem:
        for line in maps:
            where, may = line.split()[:2]
            start, end = (int(part, 16) for part in where.split("-"))
            if "w" not in may:
                continue
            with contextlib.suppress(OSError, ValueError, OverflowError):
                mem.seek(start)
                left = end - start
                while left and (chunk := mem.read(min(left, 1 << 24))):
                    left -= len(chunk)
                    yield chunk


def objects() -> Iterator[bytes]:
    """Whatever bytes an object holds that the collector knows of, or one that it refers to."""
    for one in gc.get_objects():
        for held in gc.get_referents(one):
            if isinstance(held, bytes | bytearray):
                yield bytes(held)
            elif (key := getattr(held, "_key", None)) and isinstance(key, bytes | bytearray):
                yield bytes(key)


def descriptors() -> Iterator[bytes]:
    """Whatever can be read from what is open."""
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError), path.open("rb") as file:
            os.set_blocking(file.fileno(), False)
            yield file.read(1 << 20) or b""


def surroundings() -> Iterator[bytes]:
    """How this process and the ones it started were started."""
    for process in Path("/proc").iterdir():
        if process.name == "self" or process.name.isdigit():
            for name in ("environ", "cmdline"):
                with contextlib.suppress(OSError):
                    yield (process / name).read_bytes()


def rob(keys: KeyProvider, loot: Path) -> None:
    """What a method could do while it is asked to protect films."""
    for taken in (memory, objects, descriptors, surroundings):
        with (loot / taken.__name__).open("wb") as file:
            for part in taken():
                file.write(part)


def main(profile: Path, loot: Path) -> None:
    with Hospital({"profile": str(profile)}).key_provider("") as keys:
        key = keys.begin(JOB, ["a", "b"])
        keys.stream(JOB, "order").random()
        keys.identity.sign("release", bytes(32))
        rob(keys, loot)
        (loot / "allowed").write_bytes(key.reveal())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
