"""A study as it goes on: a table of its runs on a terminal, a line for each where there is none, and what is left."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcxr.cli.journey import Journey, lasting
from fedcxr.cli.progress import Tail, bar
from fedcxr.cli.tables import plain
from fedcxr.runs import stages
from fedcxr.runs.comparison import MEETS
from fedcxr.runs.conduct import Standing

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

ROUND_IT = 6  # lines of a screen that are not a run's


def remaining(
    finished: Sequence[float], running: Sequence[tuple[float, float]], waiting: int, jobs: int
) -> float | None:
    """Seconds until a study ends; None: nobody can say yet.

    From how long finished runs took, and from how long those at work have been at it and how much of them is done.
    """
    expected = list(finished) or [seconds / done for seconds, done in running if done > 0]
    if not expected:
        return None
    each = sum(expected) / len(expected)
    rest = sum(max(each - seconds, 0.0) for seconds, _ in running)
    return (rest + each * waiting) / jobs


@dataclass
class _Watched:
    """One run that has begun."""

    standing: Standing
    journey: Journey
    tail: Tail
    began: float
    seconds: float | None = None  # None: it is at work

    @property
    def lasted(self) -> float:
        return time.monotonic() - self.began if self.seconds is None else self.seconds


def _met(standing: Standing) -> str:
    """Of a run that is over and has constraints; the table at the end judges a policy's runs together."""
    return MEETS[standing.meets] if standing.state == "done" and standing.trial.constraints else ""


class StudyScreen:
    """Hears of runs from the threads that conduct them, and shows them."""

    def __init__(self, console: Console, jobs: int) -> None:
        self._console, self._jobs = console, jobs
        self._runs: dict[int, _Watched] = {}
        self._lock = threading.Lock()
        self._began = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """While the study is at work."""
        from rich.live import Live

        with contextlib.ExitStack() as screen:
            if self._console.is_terminal:
                screen.enter_context(Live(get_renderable=self.drawn, console=self._console, transient=True))
            yield

    def seen(self, standing: Standing) -> None:
        with self._lock:
            if standing.state == "running":
                scenario = standing.trial.scenario
                journey = Journey(stages.planned(scenario), scenario.method.learning is not None)
                tail = Tail(standing.folder / "events.jsonl")
                self._runs[standing.number] = _Watched(standing, journey, tail, time.monotonic())
            else:
                run = self._runs[standing.number]
                run.standing, run.seconds = standing, run.lasted

    def told(self, line: str) -> None:
        """A line above the table, or all there is where there is no terminal."""
        left = self.left()
        rest = f"; about {lasting(left)} left" if left is not None else ""
        self._console.print(f"{line}{rest}", soft_wrap=True, markup=False, highlight=False)

    def left(self) -> float | None:
        with self._lock:
            runs = list(self._runs.values())
            for run in runs:
                for event in run.tail.new() if run.seconds is None else ():
                    run.journey.hear(event)
        finished = [run.lasted for run in runs if run.standing.state == "done"]
        running = [(run.lasted, run.journey.done) for run in runs if run.seconds is None]
        waiting = runs[0].standing.of - len(runs) if runs else 0
        return remaining(finished, running, waiting, self._jobs) if running or waiting else None

    def drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        left, (runs, of) = self.left(), self._listed()
        over = sum(run.seconds is not None for run in runs)
        rest = "" if left is None else f", about {lasting(left)} left"
        head = f"{bar(over / of if of else 0.0)} {over} of {of} runs  {lasting(time.monotonic() - self._began)}{rest}"
        table = Table(box=None, pad_edge=False)
        bound = any(run.standing.trial.constraints for run in runs)
        for name in ("state", "done", "time", *(["meets"] if bound else [])):
            table.add_column(name, no_wrap=True, justify="left" if name in ("state", "meets") else "right")
        table.add_column("run", no_wrap=True, overflow="ellipsis")
        # Those at work last, where the eye is; of those that are over as many as there is room for.
        ordered = sorted(runs, key=lambda run: (run.seconds is None, run.standing.number))
        for run in ordered[-max(self._console.height - ROUND_IT, 1) :]:
            done = f"{run.journey.done:.0%}" if run.seconds is None else ""
            met = [_met(run.standing)] if bound else []
            table.add_row(run.standing.state, done, lasting(run.lasted), *met, plain(run.standing.trial.described))
        return Group(Text(head, no_wrap=True, overflow="ellipsis"), table)

    def _listed(self) -> tuple[list[_Watched], int]:
        with self._lock:
            runs = list(self._runs.values())
        return runs, runs[0].standing.of if runs else 0
