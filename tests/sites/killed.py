"""Kills a process a thousand times while it writes to a vault. Run by test_vault.py, in a process without threads."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

from canary import leaks

from fedcxr.keys.identity import Identity
from fedcxr.keys.provider import Job
from sites.chain import Entry
from sites.counter import counters_folder
from sites.encrypted_file import DRAFT
from sites.vault import Cost, Grant, Vault

WORDS = b"correct horse battery staple"


def main(folder: Path, kills: int) -> None:
    vault = Vault.create(folder, "mercy", WORDS, Cost(log_n=4))
    friend = Identity.generate("charity").public
    vault.grant(Grant(friend))
    first = vault.ring
    keys = [first.identity.reveal(), first.epochs[0].key.reveal()]
    moments = random.Random(0)
    write = 0.005  # seconds
    journal: list[str] = []
    acknowledged = in_the_middle = unacknowledged = before = 0
    for number in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            for step in range(10_000):
                vault.begin(Job("release", f"{number}-{step}"), [f"{number}-{step}"])
                if number % 10 == 0:  # the whole journal is read for every entry
                    vault.enter("signed", {"run": f"{number}-{step}"})
                os.write(writer, b".")
        os.close(writer)
        start = time.perf_counter()
        done = len(os.read(reader, 1)) if number % 4 == 0 else 0
        if done:  # how long a write takes here and now, so that the kill falls anywhere in the next one
            write += 0.2 * (time.perf_counter() - start - write)
        time.sleep(moments.uniform(0, write))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while chunk := os.read(reader, 4096):
            done += len(chunk)
        os.close(reader)
        drafts = [folder / DRAFT, *folder.glob("*/*.draft"), *counters_folder().glob("*.draft")]
        in_the_middle += any(draft.exists() for draft in drafts)
        if number % 50 == 0:
            vault = Vault.unlock(folder, WORDS)
        ring = vault.ring
        names = [made.release for made in ring.releases]
        # All that was acknowledged is there; of what was not, at most the write that was under way.
        assert names[before:] in (
            [f"{number}-{step}" for step in range(done)],
            [f"{number}-{step}" for step in range(done + 1)],
        ), (before, done, names[before:])
        assert [ring.identity.reveal(), ring.epochs[0].key.reveal()] == keys
        assert ring.grants == first.grants
        assert ring.serial == 1 + len(names)
        # A job that is known is counted once, and one that is not is not: nothing is counted by half.
        new, lost = names[before:], f"{number}-{len(names) - before}"
        assert vault.tallies([*new, lost]) == [(1, 0, 0)] * len(new) + [(0, 0, 0)]
        for name in new[-1:]:  # its images are there
            assert vault.envelopes(Job("release", name)).keys() == {friend.fingerprint}
        if number % 10 == 0:  # so is all that was entered, and what was not acknowledged is there once or void
            known = [one.facts["run"] for one in entered(vault) if one.what == "signed"][len(journal) :]
            assert known in (names[before:][:done], names[before:][: done + 1]), (done, names[before:], known)
            journal += known
        unacknowledged += len(names) - before - done
        acknowledged += done
        before = len(names)
    assert not leaks(keys, folder)
    vault.begin(Job("release", "last"), ["a"])
    left = sorted(re.sub(r"\d+", "N", str(path.relative_to(folder))) for path in folder.rglob("*"))
    told = {"acknowledged": acknowledged, "in_the_middle": in_the_middle, "unacknowledged": unacknowledged}
    told["jobs"] = before + 1
    json.dump({**told, "left": left}, sys.stdout)


def entered(vault: Vault) -> list[Entry]:
    """What is in the journal and not void."""
    reading, head = vault.read_journal()
    known = reading.entries[: head.count if head is not None else 0]
    void = [range(one.facts["entries"][0], one.facts["entries"][1] + 1) for one in known if one.what == "void"]
    return [one for one in known if not any(one.number in numbers for numbers in void)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
