"""What a person sees: progress while a run is at work, one screen of results, errors as one line."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fedcxr import plugins

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from fedcxr.questions import Question
    from fedcxr.table import Table as Told
    from fedcxr.tasks import Task

LOOK_EVERY = 0.2  # seconds


def stderr() -> Console:
    """For everything but results."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout() -> Console:
    """For results; into a file or a pipe they go unwrapped."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


@contextlib.contextmanager
def followed(events: Path, console: Console) -> Iterator[None]:
    """Show the events of a run while it is at work, whichever of its processes wrote them."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    over = threading.Event()
    with Progress(*columns, console=console, transient=True) as progress:
        screen = _Screen(events, progress)
        watcher = threading.Thread(target=screen.watch, args=(over,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join(5.0)


@contextlib.contextmanager
def counted(what: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that tells how many of how many are done; shows the rate and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate, left = TextColumn("{task.fields[rate]}"), TimeRemainingColumn()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), rate, left)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=None, visible=False, rate="")  # work that is quickly done stays silent
        start, before = 0.0, 0

        def told(done: int, total: int) -> None:
            nonlocal start, before
            if not start:
                start, before = time.monotonic(), done  # an earlier attempt's share is not our speed
            per_second = (done - before) / max(time.monotonic() - start, 1e-6)
            progress.update(bar, completed=done, total=total, visible=True, rate=f"{per_second:.0f} {what}/s")

        yield told


class _Screen:
    """Reads events.jsonl as it grows and keeps one bar per stage."""

    def __init__(self, events: Path, progress: Progress) -> None:
        self._path, self._progress = events, progress
        self._place = events.stat().st_size if events.is_file() else 0
        self._bars: dict[str, TaskID] = {}

    def watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_EVERY):
            self._read()
        self._read()

    def _read(self) -> None:
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
                self._show(json.loads(line))

    def _show(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "progress":
                stage = str(event["stage"])
                if stage not in self._bars:
                    self._bars[stage] = self._progress.add_task(stage, total=event["total"])
                self._progress.update(self._bars[stage], completed=event["done"], total=event["total"])
            case "site" if event["status"] != "ok":
                self._progress.console.print(
                    f"[yellow]{event['site']} {event['status']}, round {event['round']}:[/] {_plain(event['reason'])}"
                )
            case "engine":
                self._progress.console.print(
                    f"[yellow]engine, attempt {event['attempt']}:[/] {_plain(event['reason'])}"
                )


def _plain(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))


def summary(result: Mapping[str, Any], folder: Path, console: Console) -> None:
    """The result on one screen: how useful, who can be re-identified, what it cost."""
    run, sites, cost = result["run"], result["sites"], result["cost"]
    answered = [site for site in sites if site["status"] == "ok"]
    console.print(
        f"[bold]{run['method']}[/], seed {run['seed']}: {len(answered)} of {len(sites)} sites released "
        f"{sum(site['released'] for site in answered)} films of {sum(site['patients'] for site in answered)} patients"
    )
    for site in sites:
        if site["status"] != "ok":
            console.print(f"  [yellow]{site['name']} {site['status']}:[/] {_plain(site['reason'])}")
    console.print()
    _print_utility(result, console)
    _print_access(result["access"], console)
    _print_privacy(result, console)
    console.print(
        f"{cost['bytes_up'] / 1e6:.1f} MB shared, {cost['seconds']['total']:.0f} s in all, "
        f"{cost['peak_rss_mb'] / 1024:.1f} GiB at most"
    )
    console.print(str(folder), soft_wrap=True)


def _print_utility(result: Mapping[str, Any], console: Console) -> None:
    """What each task has to tell, in the order of the scenario."""
    for name in result["scenario"]["tasks"]:
        figures = result["utility"].get(name)
        if figures is None:
            console.print(f"{_plain(name)}: does not apply\n")
            continue
        task = cast("Task", plugins.build("task", {"name": name, **result["scenario"]["tasks"][name]}))
        _print_table(task.table(figures), console)


def _print_access(access: Mapping[str, Any] | None, console: Console) -> None:
    """Who could open what, where a method has keys."""
    if access is None:
        return
    for reader in access["readers"]:
        first = next(iter(reader["refusals"].values()), "").split(";")[0]
        why = f" ({_plain(first)}{', ...' if len(reader['refusals']) > 1 else ''})" if first else ""
        console.print(f"{_plain(reader['name'])} opens {reader['opened']} of {reader['films']} films{why}")
    tried = access["other_site"]
    if tried["tried"]:
        console.print(f"the key of another site opens {tried['opened']} of {tried['tried']}")
    console.print()


def _print_privacy(result: Mapping[str, Any], console: Console) -> None:
    """What each question has to tell, and what is guaranteed."""
    privacy = result["privacy"]
    if not result["scenario"]["adversaries"]:
        console.print("Who can be re-identified: nobody attacked, so unknown\n")
        return
    for name, parameters in result["scenario"]["questions"].items():
        question = cast("Question", plugins.build("question", {"name": name, **parameters}))
        entries = [entry for entry in privacy[question.section] if entry["question"] == name]
        if entries:
            _print_table(question.table(entries, privacy), console, end="")
        else:
            console.print(f"{_plain(name)}: does not apply")
    formal = privacy["formal"]
    said = "none"
    if formal is not None:
        said = f"epsilon {formal['epsilon']:g}, delta {formal['delta']:g} per {formal['unit']}"
    console.print(f"  formal guarantee: {said}\n")


def _print_table(told: Told | None, console: Console, end: str = "\n") -> None:
    if told is None:
        return
    if told.rows:
        doubtful = any(row.doubt for row in told.rows)
        table = _table(told.title, *told.heads, *([""] if doubtful else []))
        for row in told.rows:
            doubt = [f"[yellow]{_plain(row.doubt)}[/]" if row.doubt else ""] if doubtful else []
            cells = [*map(_plain, row.cells), *[""] * (len(told.heads) - len(row.cells)), *doubt]
            table.add_row(_plain(row.about), *cells)
        console.print(table)
    for note in told.notes:
        console.print(f"  {_plain(note)}")
    console.print(end, end="")


def _table(*heads: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, no_wrap=True, justify="left" if head == heads[0] else "right")
    return table
