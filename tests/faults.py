"""Methods, an adversary and a question that misbehave, and what comes from outside, for tests of what is made of it."""

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
from fedcxr.knowledge import Knowledge
from fedcxr.learning import Learning
from fedcxr.methods import FilmMethod, Protect, Round, RunContext, Weights
from fedcxr.methods.none import Unprotected
from fedcxr.questions import Answers
from fedcxr.questions.linkage import Linkage
from fedcxr.release import Release
from fedcxr.storage.artefacts import digest_of
from server import leak as leaks

if TYPE_CHECKING:
    from fedcxr.training.compute import Compute

WORLDS = ("linkage protected", "linkage control_raw", "linkage control_shuffled")  # what their leaks are called


class Fault(Unprotected):
    """Goes wrong at one site, in one of the ways sites go wrong."""

    at: str = "site-2"
    how: str = "raise"
    once: str = ""  # a file that marks that it has happened

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        if keys.origin.site == self.at and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            self._go_wrong()
        return super().release(cohort, keys, weights, rng, context)

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
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        return replace(super().release(cohort, keys, weights, rng, context), site="site-1")


class Poisoned(Unprotected):
    """Releases films that are not finite."""

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        return Release(
            "codes", keys.origin.site, "faults:Poisoned", {"codes": np.full((len(cohort), 2), np.nan, np.float32)}
        )


class Spy(Adversary):
    """Looks for everything it must not see, and says so if it finds any of it."""

    targets: tuple[str, ...] = ()
    secret: str = "FEDCXR_TEST_SECRET"

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        found = [target for target in self.targets if readable(Path(target))]
        # The originals of what it attacks lie in the control's folder, and who is who in the run folder above.
        shown = leak.view.forms["films"]
        file = Path(str(getattr(shown, "filename", "")))
        own, inside = file.parents[1], file.relative_to(file.parents[1])
        assert readable(own / inside), file
        assert own.name in WORLDS, own
        others = [own.parent / name / inside for name in WORLDS if name != own.name]
        store = own.parent / leaks.ARRAYS / f"{digest_of(shown)}.npy"  # what all leaks have in common
        others.append(store)
        run = own.parents[2]
        others += [run / "answers" / "answers.csv", run / "scenario.yaml", Path(f"/proc/{os.getppid()}/environ")]
        found += [str(path) for path in others if readable(path)]
        found += [self.secret] if self.secret in os.environ else []
        if found:
            raise PermissionError(f"the adversary reached {found}")
        return {"spy": {"scores": np.zeros((len(leak.view), len(leak.known)), np.float32)}}


class Greyer(FilmMethod):
    """Takes away what its own films have in common: how grey they are."""

    @property
    def learning(self) -> Learning:
        return Learning()

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008
    ) -> Weights:
        return {"grey": np.array([cohort.films().mean() + rng.random()], dtype=np.float32)}

    def protector(self, weights: Weights, context: RunContext) -> Protect:
        grey = int(np.asarray(weights["grey"])[0])
        return lambda films, rng: np.where(films > grey, films - np.uint8(grey), np.uint8(0))


class Gossip(Linkage):
    """A question from outside."""

    of: str = "everybody"


class Nosy(Gossip):
    """Hands over what nobody knows of."""

    knows = (*Linkage.knows, "known_film")


class Eavesdropper(Adversary):
    """Answers questions from outside."""

    answers = ("faults:Gossip",)

    def answer(
        self, question: str, leak: Leak, prepared: Weights, seed: int, compute: Compute, progress: Progress
    ) -> Answers:
        return {}


class Informer(Eavesdropper):
    """Asks for what nobody knows of."""

    answers = ("faults:Nosy",)


class Rumours(Knowledge):
    """Knowledge from outside, with two parameters."""

    heard: int = 0
    loud: bool = False

    @property
    def granted(self) -> bool:
        return self.heard > 0


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
