"""Methods and an adversary that misbehave, for tests of what is made of it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedcxr.adversaries import Adversary, Leak, Progress
from fedcxr.cohort import Cohort
from fedcxr.keys import ReleaseKey
from fedcxr.methods import Weights, Workshop
from fedcxr.methods.none import Unprotected
from fedcxr.questions import Answers
from fedcxr.release import Release

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute


class Fault(Unprotected):
    """Goes wrong at one site, in one of the ways sites go wrong."""

    at: str = "site-2"
    how: str = "raise"
    once: str = ""  # a file that marks that it has happened

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        if keys.origin.site == self.at and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            self._go_wrong()
        return super().release(cohort, keys, weights, rng, workshop)

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

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        return replace(super().release(cohort, keys, weights, rng, workshop), site="site-1")


class Poisoned(Unprotected):
    """Releases films that are not finite."""

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        return Release("codes", keys.origin.site, "faults:Poisoned", {"codes": np.full((len(cohort), 2), np.nan, np.float32)})


class Spy(Adversary):
    """Looks for everything it must not see, and says so if it finds any of it."""

    targets: tuple[str, ...] = ()
    secret: str = "FEDCXR_TEST_SECRET"

    def attack(
        self, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> dict[str, Scores]:
        found = [target for target in self.targets if readable(Path(target))]
        # The originals of what it attacks lie in the control's folder, and who is who in the run folder above.
        own = Path(str(getattr(leak.released, "filename", ""))).parent
        assert own.name in ("protected", "control_raw", "control_shuffled"), own
        others = {"protected", "control_raw", "control_shuffled"} - {own.name}
        found += [name for name in others if readable(own.parent / name / "released.npy")]
        run = own.parents[2]
        found += [str(p) for p in (run / "answers" / "answers.csv", run / "scenario.yaml") if readable(p)]
        found += [f"/proc/{os.getppid()}/environ"] if readable(Path(f"/proc/{os.getppid()}/environ")) else []
        found += [self.secret] if self.secret in os.environ else []
        if found:
            raise PermissionError(f"the adversary reached {found}")
        return {"spy": np.zeros((len(leak.released), len(leak.known)), np.float32)}


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
