"""How many bytes a run's messages carried: those of each site and round once, however often the run was interrupted."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from fedcxr.errors import StorageError
from fedcxr.runs import Run
from fedcxr.storage.disk import explained

FILE = "traffic.jsonl"


@dataclass(frozen=True)
class Traffic:
    """A line for each message that was answered, or never was, on disk before its answer is used.

    What a resumed run need not ask again stands there already; of what it asks again, the last time counts. So an
    interrupted run costs what an undisturbed one does.
    """

    path: Path

    @classmethod
    def of(cls, run: Run) -> Traffic:
        return cls(run.folder / FILE)

    def note(self, kind: str, turn: int, site: str, down: int, up: int) -> None:
        """What went down to a site with a message of this kind in this turn, and what came up."""
        line = json.dumps([kind, turn, site, down, up])
        with explained(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")  # below whatever a power cut left of the line before
            file.flush()
            os.fsync(file.fileno())

    def total(self) -> dict[str, int]:
        """As in the result: `bytes_up` from the sites and `bytes_down` to them."""
        counted: dict[tuple[str, int, str], tuple[int, int]] = {}
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise StorageError("cannot read a stored file", given=self.path, do=str(error)) from None
        for line in filter(None, lines):
            try:
                kind, turn, site, down, up = json.loads(line)
            except ValueError:  # cut short: its answer was never used, so it was asked for again
                continue
            counted[kind, turn, site] = down, up
        return {
            "bytes_up": sum(up for _, up in counted.values()),
            "bytes_down": sum(down for down, _ in counted.values()),
        }
