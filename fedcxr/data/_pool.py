"""Work spread over processes, few pieces at a time, so that memory stays bounded and an interrupt is quick."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import get_context
from types import FrameType
from typing import TypeVar

from fedcxr.errors import EngineBroken

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def in_parallel(
    work: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int
) -> Generator[tuple[Job, Outcome], None, None]:
    """Each job with its outcome, in the order they end. Close it, and no process is left behind."""
    pool = _pool(min(workers, len(jobs)))
    if pool is None:
        for job in jobs:
            yield job, work(job)
        return
    waiting = iter(jobs)
    running: dict[Future[Outcome], Job] = {}
    try:
        while True:
            for job in islice(waiting, 2 * workers - len(running)):
                with _interrupts_held():
                    future = pool.submit(work, job)  # may start a process
                running[future] = job
            if not running:
                return
            for task in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(task), task.result()
    except BrokenProcessPool:
        raise EngineBroken(
            "a process at work on films died, perhaps for want of memory", do="try again with fewer workers"
        ) from None
    finally:
        # Of an interrupted work nothing half done is kept, so that nobody need wait for it.
        for process in list((pool._processes or {}).values()) if running else ():
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor | None:
    """Other processes to do the work; none where one is enough, or where a fence lets none be started."""
    if workers <= 1:
        return None
    with suppress(PermissionError):
        # Spawned, because a fork of a process with threads (PyTorch, Ray) may hang.
        return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    return None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until this is over.

    A process that starts in here never hears of it, not even while it loads: its parent ends it.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which a process inherits
    came: list[tuple[int, FrameType | None]] = []
    # The system may give the signal to another thread, and Python then runs the handler in the main one all the same.
    heard = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda *signalled: came.append(signalled)) if heard else None
    try:
        yield
    finally:
        if heard:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if came and callable(handler):
            handler(*came[0])
