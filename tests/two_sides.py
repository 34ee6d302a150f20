"""Phantoms of people on two sides: the adversary's own, and those under attack, whose first films it knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from holdings import closed_view, leak

from fedcxr import plugins
from fedcxr.adversaries import Leak
from fedcxr.cohort import Cohort
from fedcxr.data.phantom import Phantom
from fedcxr.knowledge import Holding
from fedcxr.knowledge.own_films import Owned
from fedcxr.methods import Films, RunContext
from fedcxr.methods._coded import CodeMethod, release_key
from fedcxr.rng import stream

CONTEXT = RunContext("cpu", "fp32")


def codes_of(name: str, **parameters: Any) -> CodeMethod:
    """A method that shares codes."""
    return cast(CodeMethod, plugins.build("method", {"name": name, **parameters}))


@dataclass(frozen=True)
class TwoSides:
    """Who has which films."""

    own: Cohort
    attacked: Cohort

    @classmethod
    def drawn(cls, folder: Path) -> TwoSides:
        """Forty people of the adversary's and twenty others, at 64 px."""
        cohort = Phantom(patients=60, size=64, mean_visits=3).open(folder)
        own = np.isin(cohort.patients, np.unique(cohort.patients)[:40])
        return cls(cohort.take(own), cohort.take(~own))

    @property
    def owned(self) -> Owned:
        """The adversary's own films, a tenth of its people held out."""
        people = np.unique(self.own.patients, return_inverse=True)[1].astype(np.int64)
        return Owned(self.own.films(), people, people * 0, people >= 36)

    @property
    def known(self) -> Cohort:
        """The first film of everybody under attack."""
        return self.attacked.take(self._first)

    @property
    def hidden(self) -> Cohort:
        """All their other films, which are released."""
        return self.attacked.take(~self._first)

    @property
    def films(self) -> Films:
        """Those as they were."""
        return self.hidden.films()

    @property
    def genuine(self) -> npt.NDArray[np.bool_]:
        """Which released film is of the same person as which known one."""
        return np.asarray(self.hidden.patients[:, None] == self.known.patients[None])

    def leak(self, method: CodeMethod) -> Leak:
        """What is seen of the released films without a key, in the hands of an adversary who knows the method."""
        rng = stream(1, "release")
        release = method.release(self.hidden, release_key("site-1", rng), {}, rng, CONTEXT)
        return leak(closed_view(method, [release]), self.owned, self.known.films(), method)

    def inner_leak(self, method: CodeMethod) -> Leak:
        """The same, released half by half by two sites, each under a key of its own; no film of theirs is known."""
        site = np.arange(len(self.hidden)) % 2
        order = np.argsort(site, kind="stable")
        releases = []
        for number in (0, 1):
            rng = stream(2, "release", number)
            part = self.hidden.take(site == number)
            releases.append(method.release(part, release_key(f"site-{number}", rng), {}, rng, CONTEXT))
        given = Holding({"sites": site[order].astype(np.int64)})
        return replace(leak(closed_view(method, releases), self.owned, self.known.films()[:0], method), given=given)

    @property
    def inner_pairs(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Of those rows, which are of one person, and which pairs are of two sites."""
        site = np.arange(len(self.hidden)) % 2
        order = np.argsort(site, kind="stable")
        patients, sites = self.hidden.patients[order], site[order]
        return np.asarray(patients[:, None] == patients[None]), np.asarray(sites[:, None] != sites[None])

    @property
    def _first(self) -> npt.NDArray[np.bool_]:
        first = np.zeros(len(self.attacked), dtype=bool)
        first[np.unique(self.attacked.patients, return_index=True)[1]] = True
        return first
