"""Measures of utility: one file per task, each read off the very bytes that were released."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import Annotation
from fedcxr.methods import Form
from fedcxr.plugins import Plugin
from fedcxr.release import Kind

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


@dataclass(frozen=True)
class Evidence:
    """All released films and, row by row, the films they were made of (which only the experimenter holds)."""

    released: npt.NDArray[np.uint8]  # (n, h, w) as their recipient sees them; blank where it has no key
    clean: npt.NDArray[np.uint8]  # (n, h, w), the same rows
    labels: npt.NDArray[np.float32]  # (n, k) of 0, 1 or NaN, as released
    split: npt.NDArray[np.int8]  # (n,) index into cohort.SPLITS
    patients: npt.NDArray[np.object_]  # (n,) for intervals by patient, never for training
    findings: tuple[str, ...]  # k names
    opened: npt.NDArray[np.bool_]  # (n,) which of them the recipient sees at all
    codes: Mapping[str, npt.NDArray[np.int8]] = field(default_factory=dict)  # (n, c, h, w) purified, clean, public
    unauthorised: npt.NDArray[np.uint8] | None = None  # (n, h, w) as others see them; None: nothing is kept from others


class Task(Plugin):
    """Answers: how good is what one can do with the releases? Its fields are keys under `tasks:` in a scenario."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"images"})  # releases it can read

    @property
    def form(self) -> Form:
        """What it reads of a release."""
        return "films"

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """What it must find beside the films it is measured on: a scenario whose sources lack it is refused."""
        return ()

    def applies(self, evidence: Evidence) -> bool:
        """Whether there is anything to measure: a recipient without a key sees nothing."""
        return bool(evidence.opened.any())

    @abstractmethod
    def measure(self, evidence: Evidence, seed: int, compute: Compute, progress: Progress) -> dict[str, Any]:
        """The task's part of `utility` in result.json; what does not apply is None."""
