"""Work as it goes on: one bar with what is left on a terminal, and a line for every stage where there is none.

Where sites are named, each has a line of its own besides.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcxr.cli.journey import Journey, lasting
from fedcxr.cli.site_progress import Sites
from fedcxr.cli.tables import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LOOK_EVERY = 0.2  # seconds
PATIENCE = 3.0  # seconds: what is refused by then is refused without a word of progress
FIRST = "libraries are loaded and films looked up"
SHOWN = 3  # stages at work at once
BAR = 20  # columns: on 60 of them nothing is cut that matters


@contextlib.contextmanager
def followed(events: Tail, journey: Journey, console: Console, sites: Sites | None = None) -> Iterator[None]:
    """Show the events of a run while it is at work, whichever of its processes wrote them."""
    from rich.live import Live

    over = threading.Event()
    screen = _Screen(events, journey, console, sites or Sites(()))
    with contextlib.ExitStack() as shown:
        if console.is_terminal:
            shown.enter_context(
                Live(get_renderable=screen.drawn, console=console, transient=True, refresh_per_second=4)
            )
        watcher = threading.Thread(target=screen.watch, args=(over,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join(5.0)


class Tail:
    """Reads events.jsonl as it grows."""

    def __init__(self, events: Path, since: str | None = None) -> None:
        """From now on; or, for whoever joins a run that is at work, from the last event of this kind on."""
        self._path, self._place = events, 0
        size = events.stat().st_size if events.is_file() else 0
        begun = size
        for event in self.new() if since else ():
            if event["event"] == since:
                begun = self._place
        self._place = begun

    def new(self) -> Iterator[Mapping[str, Any]]:
        """The events since the last call."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            if self._place > file.seek(0, 2):  # the run was cleared and began anew
                self._place = 0
            file.seek(self._place)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._place += len(line)
                yield json.loads(line)


class _Screen:
    """Shows them."""

    def __init__(self, events: Tail, journey: Journey, console: Console, sites: Sites) -> None:
        self._tail, self._journey, self._console, self._sites = events, journey, console, sites
        self._began = time.monotonic()
        self._last = FIRST
        self._silent = True

    def watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_EVERY):
            self._read()
            if self._silent and time.monotonic() - self._began > PATIENCE:
                self._tell(FIRST)
        self._read()

    def drawn(self) -> RenderableType:
        """One bar for all, and what is at work."""
        from rich.console import Group
        from rich.text import Text

        seconds = time.monotonic() - self._began
        done, left = self._journey.done, self._journey.left(seconds)
        rest = "" if left is None else f", about {lasting(left)} left"
        lines = [f"{bar(done)} {done:4.0%}  {lasting(seconds)}{rest}"]
        at_work = list(self._journey.at_work.items())[-SHOWN:]
        lines += [f"  {share:4.0%} {what}" for what, share in at_work] or [f"  {self._last}"]
        lines += self._sites.lines(time.time(), self._console.height - len(lines) - 1)
        return Group(*(Text(line, overflow="ellipsis", no_wrap=True) for line in lines))

    def _read(self) -> None:
        for event in self._tail.new():
            self._show(event)

    def _show(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "site" if event["status"] != "ok":
                self._console.print(
                    f"[yellow]{event['site']} {event['status']}, round {event['round']}:[/] {plain(event['reason'])}",
                    soft_wrap=True,
                )
            case "engine":
                self._console.print(f"[yellow]engine, attempt {event['attempt']}:[/] {plain(event['reason'])}")
        for begun in (self._sites.hear(event), self._journey.hear(event)):
            if begun is not None:
                self._tell(begun)

    def _tell(self, begun: str) -> None:
        """What has just begun; a line of its own where nothing can be drawn anew."""
        self._last, self._silent = begun, False
        if not self._console.is_terminal:
            self._console.print(f"{lasting(time.monotonic() - self._began):>6}  {plain(begun)}", soft_wrap=True)


def bar(done: float) -> str:
    """A bar that is filled as far as something is done."""
    full = round(BAR * done)
    return "━" * full + "╌" * (BAR - full)
