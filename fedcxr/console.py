"""What a person sees: progress while a run is at work, one screen of results, errors as one line."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LOOK_EVERY = 0.2  # seconds


def stderr() -> Console:
    """For everything but results."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


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
    from rich.table import Table

    run, cost = result["run"], result["cost"]
    sites = result["sites"]
    answered = [site for site in sites if site["status"] == "ok"]
    console.print(
        f"[bold]{run['method']}[/], seed {run['seed']}: {len(answered)} of {len(sites)} sites released "
        f"{sum(site['released'] for site in answered)} films of {sum(site['patients'] for site in answered)} patients"
    )
    for site in sites:
        if site["status"] != "ok":
            console.print(f"  [yellow]{site['name']} {site['status']}:[/] {_plain(site['reason'])}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("", "figure", "95 % interval", ""):
        table.add_column(head)
    for row in (*_utility_rows(result["utility"]), *_privacy_rows(result["privacy"])):
        table.add_row(*row)
    console.print(table)
    seconds = cost["seconds"]
    console.print(
        f"{cost['bytes_up'] / 1e6:.1f} MB shared, {seconds['total']:.0f} s in all, "
        f"{cost['peak_rss_mb'] / 1024:.1f} GiB at most; {folder}"
    )


LEVELS = {
    "raw": "nothing protected: the ceiling",
    "frozen": "trained on clean films, used on released ones",
    "trained": "trained on releases, used on clean films",
    "trained_released": "trained on releases, used on released films",
}


def _utility_rows(utility: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    findings = utility.get("findings")
    if findings:
        yield "[bold]How useful[/] (mean AUC of the findings)", "", "", ""
        for level, meaning in LEVELS.items():
            if findings[level] is not None:
                mean = findings[level]["mean_auc"]
                yield f"  {meaning}", figure(mean["value"]), span(mean["ci95"]), ""
        skipped = findings["raw"]["skipped"] if findings["raw"] else ()
        if skipped:
            yield f"  too rare to score: {', '.join(skipped)}", "", "", ""


def _privacy_rows(privacy: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    if not privacy["attacks"]:
        yield "[bold]Who can be re-identified:[/] nobody attacked, so unknown", "", "", ""
        return
    yield "[bold]Who can be re-identified[/] (AUC: same patient or not)", "", "", ""
    worst = privacy["worst_case"]
    for attack in privacy["attacks"]:
        name = f"{attack['adversary']} {attack['attacker']}"
        mark = " <- worst case" if worst and (attack["adversary"], attack["attacker"]) == _key(worst) else ""
        yield (
            f"  {name}{mark}",
            figure(attack["auc"]["value"]),
            span(attack["auc"]["ci95"]),
            _attack_notes(attack),
        )
        yield (
            "    controls: unprotected, shuffled identities",
            f"{figure(attack['control_raw_auc'])}, {figure(attack['control_shuffled_auc'])}",
            "",
            "" if attack["conclusive"] else "[yellow]inconclusive[/]",
        )
    floor = privacy["label_floor"]
    if floor:
        yield (
            "  from the findings alone (label floor)",
            figure(floor["auc"]["value"]),
            span(floor["auc"]["ci95"]),
            "",
        )
    formal = privacy["formal"]
    said = (
        "none" if formal is None else f"epsilon {formal['epsilon']:g}, delta {formal['delta']:g} per {formal['unit']}"
    )
    yield f"  formal guarantee: {said}", "", "", ""


def _key(worst: Mapping[str, Any]) -> tuple[str, str]:
    return worst["adversary"], worst["attacker"]


def _attack_notes(attack: Mapping[str, Any]) -> str:
    return (
        f"same hospital {figure(attack['same_site_auc'])}, "
        f"found first {_share(attack['rank1'])}, at 1 % false alarms {_share(attack['tpr_at_fpr']['0.01'])}"
    )


def figure(value: float | None) -> str:
    """A figure for people; what is not known is said so."""
    return "unknown" if value is None else f"{value:.3f}"


def span(ends: Sequence[float] | None) -> str:
    """An interval for people."""
    return "unknown" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"
