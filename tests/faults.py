"""Methods that misbehave, for tests of what the engines make of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from fedcxr.cohort import Cohort
from fedcxr.methods import Weights
from fedcxr.methods.none import Unprotected
from fedcxr.release import Release


class Fault(Unprotected):
    """Goes wrong at one site, in one of the ways sites go wrong."""

    at: str = "site-2"
    how: str = "raise"
    once: str = ""  # a file that marks that it has happened

    def release(self, cohort: Cohort, site: str, weights: Weights, rng: np.random.Generator) -> Release:
        if site == self.at and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            self._go_wrong()
        return super().release(cohort, site, weights, rng)

    def _go_wrong(self) -> None:
        match self.how:
            case "raise":
                raise ValueError("the film is upside down")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(3600)


class Impostor(Unprotected):
    """Answers in another site's name."""

    def release(self, cohort: Cohort, site: str, weights: Weights, rng: np.random.Generator) -> Release:
        return super().release(cohort, "site-1", weights, rng)


class Poisoned(Unprotected):
    """Releases films that are not finite."""

    def release(self, cohort: Cohort, site: str, weights: Weights, rng: np.random.Generator) -> Release:
        return Release("codes", site, "faults:Poisoned", {"codes": np.full((len(cohort), 2), np.nan, np.float32)})
