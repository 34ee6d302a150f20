"""The one place that decides on which device, in which precision and with how many threads networks run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from fedcxr.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]


class _Threads:
    """The thread counts of torch and of NumPy's linear algebra, which a whole process has once.

    Put back by the last session that ends: were it put back while another thread still trains, as sites do side by
    side, that training would end in other bits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions = self._before = 0
        self._algebra: threadpool_limits | None = None

    def enter(self, threads: int) -> None:
        with self._lock:
            if self._sessions == 0:
                self._before = torch.get_num_threads()
                self._algebra = threadpool_limits(threads, user_api="blas")
            self._sessions += 1
            torch.set_num_threads(threads)

    def leave(self) -> None:
        with self._lock:
            self._sessions -= 1
            if self._sessions == 0:
                torch.set_num_threads(self._before)
                assert self._algebra is not None, "whoever leaves has entered"
                self._algebra.restore_original_limits()


_THREADS = _Threads()
_ALONE = threading.RLock()


@dataclass(frozen=True)
class Compute:
    """Where and how networks run in one process."""

    device: torch.device
    precision: Literal["fp32", "bf16"]
    threads: int = 1  # results are bit-identical for equal thread counts only, so the count is never guessed

    @classmethod
    def choose(cls, device: Device = "auto", precision: Precision = "auto", threads: int = 1) -> Compute:
        """Resolve `auto` by what the hardware can do (never by timing: the choice must repeat)."""
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("no CUDA device on this machine", given="cuda", allowed="auto, cpu")
        chosen = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
        if precision == "auto":
            precision = "bf16" if has_fast_bf16(chosen) else "fp32"
        return cls(chosen, precision, threads)

    @property
    def settings(self) -> tuple[str, str, int]:
        """All of it that a result depends on."""
        return self.device.type, self.precision, self.threads

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Apply the thread count for the length of a block.

        In bf16 one thread at a time: torch keeps weights that were cast for the whole process, and whichever thread
        leaves autocast drops all threads', so that side by side gradients would add up in another precision.
        """
        alone = _ALONE if self.precision == "bf16" else contextlib.nullcontext()
        with alone:
            _THREADS.enter(self.threads)
            try:
                yield
            finally:
                _THREADS.leave()

    def autocast(self) -> torch.autocast:
        """The context in which forward passes run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 has instructions of its own there; emulated, it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
