"""What each hospital of a run is at, as far as its coordinator knows, from the events that the coordinator writes.

Nobody sees into a hospital: between what it was asked and what it answered it is at work, or it will never answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.runs import stages

ABSENT = "not connected yet"
# By what a site is asked: what it is at then, and what it has done in the end.
DOING = {"release": "releases its films", "learn": "learns", "test": "tests what was learnt"}
DONE = {"release": "released its films", "learn": "learnt", "test": "tested what was learnt"}


class Sites:
    """Hears the events of one run, and tells of each of these sites."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._forget()

    def _forget(self) -> None:
        self._state = dict.fromkeys(self._names, ABSENT)
        self._since: dict[str, float] = {}  # when those that are at work were asked, in unix seconds
        self._told: set[tuple[str, str]] = set()

    def hear(self, event: Mapping[str, Any]) -> str | None:
        """Take in one event; what a site has begun or done, in words, unless it is the next round of the same."""
        if event["event"] == stages.BEGUN:
            self._forget()
        site = event.get("site")
        if event["event"] not in ("site", "visit") or site not in self._state:
            return None
        kind, state = _state(event)
        self._state[site] = state
        self._since.pop(site, None)
        if kind in DOING:
            self._since[site] = float(event["time"])
        # Of rounds only the first is said, and what went wrong is said elsewhere, with its reason.
        new = (site, kind) not in self._told and kind not in ("learnt", "gone")
        self._told.add((site, kind))
        return f"{site} {state}" if new else None

    def lines(self, now: float, most: int) -> list[str]:
        """One for each site, as far as there is room: at a time in unix seconds."""
        wide = max(map(len, self._names), default=0)
        shown = self._names if len(self._names) <= most else self._names[: max(most - 1, 0)]
        lines = [f"  {site:{wide}}  {self._state[site]}{self._waited(site, now)}" for site in shown]
        left = len(self._names) - len(shown)
        return [*lines, f"  and {left} more"] if left else lines

    def _waited(self, site: str, now: float) -> str:
        return f", for {max(now - self._since[site], 0.0):.0f} s" if site in self._since else ""


def _state(event: Mapping[str, Any]) -> tuple[str, str]:
    """Which kind of news this is, and what it says of the site."""
    match event:
        case {"event": "site", "status": "ok", "released": released}:
            return "released", f"released {released} films" if released else DONE["release"]
        case {"event": "site"}:
            return "gone", f"{event['status']}, round {event['round']}: {event['reason']}"
        case {"what": "asked", "work": "learn" as work}:
            return work, f"{DOING[work]}, round {event['round']}"
        case {"what": "asked", "work": str(work)}:
            return work, DOING[work]
        case {"what": "answered", "work": "learn" as work}:
            return "learnt", f"{DONE[work]}, round {event['round']}"
        case {"what": "answered", "work": str(work)}:
            return "answered", DONE[work]
        case {"what": "on file", "released": released}:
            return "on file", f"released {released} films before"
    return "here", "is connected"
