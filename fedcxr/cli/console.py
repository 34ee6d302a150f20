"""What a person sees: how far short work is, and one screen of results."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fedcxr import plugins
from fedcxr.cli import tables
from fedcxr.cli.tables import plain
from fedcxr.table import own_figures

if TYPE_CHECKING:
    from rich.console import Console

    from fedcxr.questions import Question
    from fedcxr.tasks import Task


def stderr() -> Console:
    """For everything but results."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout() -> Console:
    """For results; into a file or a pipe they go as wide as they are, unless COLUMNS says how wide that is."""
    from rich.console import Console

    console = Console(highlight=False)
    wide = not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit()
    return Console(highlight=False, width=160) if wide else console


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
            console.print(f"  [yellow]{site['name']} {site['status']}:[/] {plain(site['reason'])}")
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
            console.print(f"{plain(name)}: does not apply\n")
            continue
        task = cast("Task", plugins.build("task", {"name": name, **result["scenario"]["tasks"][name]}))
        tables.show(task.table(figures) or own_figures(f"{name}: what it measured", figures), console)
        console.print()


def _print_access(access: Mapping[str, Any] | None, console: Console) -> None:
    """Who could open what, where a method has keys."""
    if access is None:
        return
    for reader in access["readers"]:
        first = next(iter(reader["refusals"].values()), "").split(";")[0]
        why = f" ({plain(first)}{', ...' if len(reader['refusals']) > 1 else ''})" if first else ""
        console.print(f"{plain(reader['name'])} opens {reader['opened']} of {reader['films']} films{why}")
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
    unknown = result.get("unmeasured", {}).get("privacy.attacks")
    if unknown is not None:
        console.print(f"Who can be re-identified: unknown; {plain(unknown)}\n")
    for name, parameters in ({} if unknown is not None else result["scenario"]["questions"]).items():
        question = cast("Question", plugins.build("question", {"name": name, **parameters}))
        entries = [entry for entry in privacy[question.section] if entry["question"] == name]
        told = question.table(entries, privacy) if entries else None
        if told is not None:
            tables.show(told, console)
            console.print()
        elif not entries:
            console.print(f"{plain(name)}: does not apply\n")
    formal = privacy["formal"]
    said = "none"
    if formal is not None:
        said = f"epsilon {formal['epsilon']:g}, delta {formal['delta']:g} per {formal['unit']}"
    console.print(f"formal guarantee: {said}\n")
