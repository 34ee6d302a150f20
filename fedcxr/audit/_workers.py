"""Long jobs in processes of their own, which tell how far they are and end at once when we do.

Every job computes with one thread, so that what comes out does not depend on how many run at once.
"""

from __future__ import annotations

import queue as queues
import signal
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.queues import Queue
from typing import TypeVar

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Told = Callable[[int], None]  # how many steps of a job are done

LOOK_EVERY = 0.5  # seconds

_QUEUE: list[Queue[tuple[int, int]]] = []  # of a worker process: where it tells its parent


def spread(
    work: Callable[[Job, Told], Outcome],
    jobs: Sequence[Job],
    workers: int,
    progress: Callable[[int], None],
) -> list[Outcome]:
    """What became of every job, in their order; `progress` is told the steps that all of them have done."""
    done = [0] * len(jobs)

    def told(number: int, steps: int) -> None:
        done[number] = steps
        progress(sum(done))

    if workers <= 1 or len(jobs) <= 1:
        return [work(job, lambda steps, number=number: told(number, steps)) for number, job in enumerate(jobs)]  # type: ignore[misc]
    # Spawned, because a fork of a process with threads may hang.
    context = get_context("spawn")
    queue: Queue[tuple[int, int]] = context.Queue()
    with context.Pool(min(workers, len(jobs)), _begin, (queue,)) as pool:  # left in any way, it ends its processes
        running = pool.starmap_async(_run, [(work, job, number) for number, job in enumerate(jobs)], chunksize=1)
        while not running.ready():
            try:
                told(*queue.get(timeout=LOOK_EVERY))
            except queues.Empty:
                continue
        return running.get()


def _begin(queue: Queue[tuple[int, int]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our parent's business
    _QUEUE[:] = [queue]


def _run(work: Callable[[Job, Told], Outcome], job: Job, number: int) -> Outcome:
    return work(job, lambda steps: _QUEUE[0].put((number, steps)))
