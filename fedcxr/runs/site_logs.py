"""What hospitals let their coordinator keep of what was done for a run: a file for each of them, of a line per answer.

All of it was signed by the hospital and is a few words and numbers (`fedcxr.steps`): nothing in it names a file, a
patient or a film. Who can write to the folder can write what they like, so it is read as strictly as it was received.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedcxr import steps
from fedcxr.answer import Answer
from fedcxr.errors import Refused, one_line
from fedcxr.storage.disk import explained
from fedcxr.storage.events import Events
from fedcxr.storage.private import private_folder

FOLDER = "logs"
LARGEST = 1 << 20  # bytes of one hospital's; some thousand answers
DAMAGED = "a line that is none of this hospital's log"


def keep(run: Path, site: str, work: str, turn: int, answer: Answer) -> None:
    """Add what one answer says of itself, if it says anything, as long as there is room for it."""
    if not answer.log:
        return
    folder = run / FOLDER
    with explained(folder):
        file = private_folder(folder) / f"{site}.jsonl"
        if file.is_file() and file.stat().st_size > LARGEST:
            return
    told = {"work": work, "round": turn, "status": answer.status, "steps": answer.log}
    reason = {"reason": answer.reason, "place": answer.place} if answer.reason else {}
    Events(file).tell("answer", **told, **reason)


def lines(run: Path) -> list[str]:
    """All of them, as a terminal shows them and does not act on them."""
    files = sorted((run / FOLDER).glob("*.jsonl"))
    return [f"{one_line(file.stem)}  {line}" for file in files for line in _lines(file)]


def _lines(file: Path) -> Iterator[str]:
    with explained(file), file.open("rb") as opened:
        data = opened.read(2 * LARGEST)
    for line in data.decode(errors="replace").splitlines():
        try:
            yield _line(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Refused):
            yield DAMAGED


def _line(told: dict[str, Any]) -> str:
    taken = ", ".join(f"{step} {seconds} s" for step, seconds in steps.parse(told["steps"]))
    place = f" ({told['place']})" if told.get("place") else ""
    ended = f"{told['reason']}{place}" if told.get("reason") else told["status"]
    return one_line(f"{told['work']}, round {told['round']}: {taken}; {ended}")
