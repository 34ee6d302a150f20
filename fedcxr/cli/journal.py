"""How a hospital's journal of what has left reads: for whoever watches over a node, on 80 columns."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from fedcxr.errors import one_line

WIDTH = 79
KIND = 9  # columns
SHORT = 16  # hexadecimal digits of a digest or fingerprint
KINDS = {"release": "release", "learn": "update", "test": "test"}
MEANING = (
    "release, update, test: signed, and so it may have left; void: entered, then neither signed nor granted. After the "
    "films: in how many answers of this kind one of them was at most, of how many it may be. `verify` checks the end."
)

NOTHING = (
    "There is nothing where the profile says that the journal is: nothing has left yet, or it was taken away. "
    "`verify` asks the vault, which knows."
)


def as_plain(site: str, reading: Any, no_room: list[str]) -> str:
    """All of it as one JSON document; the reading comes from `sites.journal`, and `no_room` from `sites.room`."""
    entries = [
        {"number": one.number, "time": one.time, "what": one.what, **one.facts, "digest_of_line": one.digest.hex()}
        for one in reading.entries
    ]
    return json.dumps({"site": site, "entries": entries, "unfinished": reading.cut > 0, "no_room": no_room}, indent=1)


def as_text(site: str, reading: Any, no_room: list[str]) -> str:
    """One entry to a line, or a few; last, why none can be made now."""
    wide = len(str(len(reading.entries)))
    lines = [f"{one_line(site)}: {len(reading.entries)} entries"]
    for one in reading.entries:
        kind = KINDS.get(str(one.facts.get("kind")), "") if one.what == "signed" else one.what
        start = f"{one.number:>{wide}}  {one_line(one.time)[:16].replace('T', ' ')}  {one_line(kind):<{KIND}} "
        told = TOLD.get(one.what, _other)(one.facts)
        lines += textwrap.wrap(start + told, WIDTH, subsequent_indent=" " * (wide + 20)) or [start]
    shown = [MEANING if reading.entries else NOTHING, *map(unentered, no_room)]
    return "\n".join([*lines, "", *(line for said in shown for line in textwrap.wrap(said, WIDTH))])


def unentered(why: str) -> str:
    """What follows from a full disk."""
    return f"Nothing more is entered, so nothing is answered: {one_line(why, 1000)}"


def _signed(facts: Mapping[str, Any]) -> str:
    part = f", {'round' if facts.get('kind') == 'learn' else 'task'} {facts.get('part')}" if facts.get("part") else ""
    budget = f"{facts.get('films')} films, {facts.get('most')} of {facts.get('allowed')}"
    run = " ".join([f"{facts.get('run')}{part}", *_asked(facts)])
    return one_line("; ".join([run, budget, *_privacy(facts), f"sha256 {_short(facts, 'digest')}"]))


def _asked(facts: Mapping[str, Any]) -> list[str]:
    """By which method, and for whom."""
    by = ", ".join(str(facts[name])[:SHORT] for name in ("method", "coordinator") if name in facts)
    return [f"({by})"] if by else []


def _privacy(facts: Mapping[str, Any]) -> list[str]:
    match facts.get("privacy"):
        case {"unit": unit, "epsilon": spent, "delta": delta}:
            return [f"epsilon {spent} per {unit} at delta {delta}"]
        case _:
            return []


def _refused(facts: Mapping[str, Any]) -> str:
    run = [f"{facts['run']}:"] if "run" in facts else []
    line = [f"at {facts['line']}"] if "line" in facts else []
    return one_line(" ".join([*run, str(facts.get("code")), *line, *_asked(facts)]))


def _granted(facts: Mapping[str, Any]) -> str:
    runs = facts.get("runs")
    which = ", ".join(map(str, runs)) if isinstance(runs, list) and runs else "what is released from then on"
    return one_line(f"to {_short(facts, 'recipient')}: {facts.get('of')} of {which}")


def _recipient(facts: Mapping[str, Any]) -> str:
    return one_line(f"to {_short(facts, 'recipient')}")


def _void(facts: Mapping[str, Any]) -> str:
    between = facts.get("entries")
    first, last = between if isinstance(between, list) and len(between) == 2 else ("?", "?")
    return one_line(f"entry {first}" if first == last else f"entries {first} to {last}")


def _other(facts: Mapping[str, Any]) -> str:
    return one_line(", ".join(f"{name} {value}" for name, value in facts.items()))


def _short(facts: Mapping[str, Any], name: str) -> str:
    return str(facts.get(name))[:SHORT]


TOLD: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "signed": _signed,
    "refused": _refused,
    "granted": _granted,
    "revoked": _recipient,
    "renewed": _recipient,
    "void": _void,
}
