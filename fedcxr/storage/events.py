"""What happens in a run, as lines of JSON that its processes append: for the console, and for a post-mortem."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from fedcxr.storage.disk import explained

REPORT_EVERY = 0.3  # seconds


class Events:
    """A file of JSON lines that several processes of one run may append to."""

    VARIABLE = "FEDCXR_EVENTS"  # names the file to simulated sites; a real one has no such file

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._reported: dict[str, float] = {}

    @classmethod
    def of_the_run(cls) -> Events | None:
        """Those of the run this process is a simulated site of."""
        named = os.environ.get(cls.VARIABLE)
        return cls(Path(named)) if named else None

    def tell(self, kind: str, **facts: object) -> None:
        """Append one line."""
        line = json.dumps({"time": round(time.time(), 3), "event": kind, **facts}, default=str)
        with explained(self.path.parent), self._lock, self.path.open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is, a few times a second at most."""
        now = time.monotonic()
        if done >= total or now - self._reported.get(stage, 0.0) > REPORT_EVERY:
            self._reported[stage] = now
            self.tell("progress", stage=stage, done=done, total=total)
