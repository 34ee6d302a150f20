"""A hospital whose table holds what must not get out, at a node that anybody may ask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from flwr.app import Context, Message, RecordDict
from nodes import card_in, permissive, requested
from sample_hospitals import save

from fedcxr import wire
from fedcxr.data import cache_folder
from server.inline import InlineGrid
from sites.app import app
from sites.counts import Tally
from sites.passphrase import VARIABLE
from sites.profile import Profile
from sites.vault import Cost, Vault

WORDS = b"correct horse battery staple"
PEOPLE = tuple(f"{name} 1943-02-{day}" for day, name in enumerate(("Kowalczyk", "Szymanski", "Lewandow"), start=17))
PARTS = ("train", "test", "test")
FINDINGS = ("Mass", "Effusion")
SOURCE = {"source": "folder", "size": 16, "columns": {"split": "part"}}
SCENARIO: dict[str, Any] = {
    "sites": {"charite": "own"},
    "method": "none",
    "tasks": {},
    "adversaries": {},
    "compute": {"device": "cpu", "precision": "fp32"},
}


@dataclass(frozen=True)
class Asked:
    """A hospital as its coordinator sees it; `root` and `profile` the coordinator does not see."""

    root: Path
    profile: Path
    grid: InlineGrid

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Asked]:
        """One with its passphrase at hand, while the block lasts."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(VARIABLE, str(folder / "words"))
            yield cls.at(folder)

    @classmethod
    def at(cls, folder: Path) -> Asked:
        """Its passphrase is in the file `words`; its own profile takes a column for findings that holds names, too."""
        root, profile, words = folder / "films", folder / "hospital.yaml", folder / "words"
        lines = ["image,patient,part,person,finding"]
        for film in range(4 * len(PEOPLE)):
            save(root / "images" / f"{film}.png", film)
            person = PEOPLE[film // 4]
            lines.append(f"{film}.png,MRN-{film // 4},{PARTS[film // 4]},{person},{FINDINGS[film % 2]}|{person}")
        (root / "metadata.csv").write_text("\n".join(lines))
        words.touch(mode=0o600)
        words.write_bytes(WORDS)
        Vault.create(folder / "vault", "charite", WORDS, Cost(log_n=4)).__exit__()
        own = {**SOURCE, "root": str(root), "findings": {"label": "finding"}}
        profile.touch(mode=0o600)
        allowed = permissive(site="charite", coordinator=card_in(folder), vault=str(folder / "vault"), cohort=own)
        profile.write_text(yaml.safe_dump(allowed))
        grid = InlineGrid(app, 1, workers=1)
        grid._contexts[1] = Context(1, 1, {"profile": str(profile)}, RecordDict(), {})
        return cls(root, profile, grid)

    @contextmanager
    def allowing(self, **changes: Any) -> Iterator[None]:
        """For a while its profile says something else."""
        before = self.profile.read_text()
        self.profile.write_text(yaml.safe_dump({**yaml.safe_load(before), **changes}))
        try:
            yield
        finally:
            self.profile.write_text(before)

    def tallies(self) -> list[Tally]:
        """How often its vault says that each film was used."""
        profile = Profile.read(self.profile)
        with Vault.unlock(Path(profile.vault), WORDS) as vault:
            return vault.tallies(list(profile.films(cache_folder()).index["image"]))

    def hears(self, content: RecordDict, kind: str = wire.RELEASE) -> RecordDict:
        """What comes back for a message."""
        sent = list(self.grid.push_messages([Message(content, dst_node_id=1, message_type=kind)]))
        while not (replies := list(self.grid.pull_messages(sent))):
            time.sleep(0.002)
        return replies[0].content

    def asked(self, scenario: dict[str, Any] | str, kind: str = wire.RELEASE, learnt: bytes = b"") -> RecordDict:
        """What comes back for a scenario."""
        text = scenario if isinstance(scenario, str) else yaml.safe_dump(scenario)
        return self.hears(requested(wire.Request(text, "charite", learnt=learnt), kind), kind)

    def answer(self, kind: str = wire.RELEASE, learnt: bytes = b"", **changes: Any) -> wire.Answer:
        """Its answer to the usual scenario, changed; as signed as any, and read without that."""
        return told(self.asked({**SCENARIO, **changes}, kind, learnt))


def told(content: RecordDict) -> wire.Answer:
    """An answer without its signature, which is over the question, too."""
    return replace(wire.unpack_answer(content), signature=b"")


def said(content: RecordDict) -> bytes:
    """Every byte of a message."""
    blobs = [array.data for record in content.array_records.values() for array in record.values()]
    return repr([dict(record) for record in content.config_records.values()]).encode() + b"".join(blobs)
