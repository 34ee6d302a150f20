"""Work spread over processes, few pieces at a time, so that memory stays bounded and an interrupt is quick."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from fedcxr.errors import EngineBroken

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def in_parallel(
    work: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int
) -> Generator[tuple[Job, Outcome], None, None]:
    """Each job with its outcome, in the order they end. Close it, and no process is left behind."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, work(job)
        return
    # Spawned, because a fork of a process with threads (PyTorch, Ray) may hang.
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_leave_interrupts_to_parent
    )
    waiting = iter(jobs)
    running: dict[Future[Outcome], Job] = {}
    try:
        while True:
            for job in islice(waiting, 2 * workers - len(running)):
                running[pool.submit(work, job)] = job
            if not running:
                return
            for task in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(task), task.result()
    except BrokenProcessPool:
        raise EngineBroken(
            "a process at work on films died, perhaps for want of memory", do="try again with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
