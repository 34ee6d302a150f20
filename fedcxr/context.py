"""Where work is done: on which hardware, whom it tells how far it is, and which folder keeps what is half done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute, Device, Precision

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


def _silently(stage: str, done: int, total: int) -> None:
    pass


def _to_nobody(facts: Mapping[str, Any]) -> None:
    pass


@dataclass(frozen=True)
class RunContext:
    """Where a method works: on which hardware, whom it tells, and which folder keeps what is half done."""

    device: Device = "auto"
    precision: Precision = "auto"
    threads: int = 1
    progress: Progress = _silently
    folder: Path | None = None  # survives a kill and stays at its owner's; None: nothing is kept
    report: Callable[[Mapping[str, Any]], None] = _to_nobody  # takes facts of a learning that everybody may know

    @classmethod
    def on(cls, compute: Compute) -> RunContext:
        """For somebody who has chosen the hardware already."""
        return cls("cuda" if compute.device.type == "cuda" else "cpu", compute.precision, compute.threads)

    @property
    def compute(self) -> Compute:
        """Where networks run; asked for by methods that have one, because it takes torch to answer."""
        from fedcxr.training.compute import Compute

        return Compute.choose(self.device, self.precision, self.threads)
