"""Do pictures tell whose they are? Each against every known film of the people who are attacked, by correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.codes.support import correlation
from fedcxr.metrics import auc
from fedcxr.metrics.bootstrap import auc_difference_interval, auc_interval
from fedcxr.rng import stream
from fedcxr.view import Films, View
from fedcxr.world import Roles, World

REPLICATES = 400  # of the bootstrap: several attackers are compared, and an interval needs no third digit


@dataclass(frozen=True)
class Album:
    """Films of the attacked people from elsewhere, and what everybody sees of the attacked films."""

    films: Films  # (m, h, w)
    patients: npt.NDArray[np.object_]  # (m,)
    released: Films | None  # (n, h, w); None: no films were released

    @classmethod
    def of(cls, world: World, roles: Roles, view: View) -> Album | None:
        known = np.flatnonzero(roles.known)
        if not len(known):
            return None
        released = None if "sealed" in view.forms or "films" not in view.forms else view.forms["films"]
        seen = None if released is None else np.asarray(released, dtype=np.uint8)
        return cls(world.cohort.films(known), world.cohort.patients[known], seen)

    def linked(self, pictures: Films, patients: npt.NDArray[np.object_], seed: int) -> dict[str, Any]:
        """The verification AUC of pictures, of the releases themselves, and what the former gained."""
        genuine = (patients[:, None] == self.patients[None]).ravel()
        a, b = np.indices((len(patients), len(self.patients))).reshape(2, -1)
        whose = patients[a], self.patients[b]
        if genuine.all() or not genuine.any():
            return {"auc": _figure(None, None), "auc_released": _figure(None, None), "gain": _figure(None, None)}
        drawn = stream(seed, "bootstrap", "picture links")
        made = correlation(pictures, self.films).ravel()
        own = _figure(auc(genuine, made), auc_interval(made, genuine, *whose, drawn, REPLICATES))
        if self.released is None:
            return {"auc": own, "auc_released": _figure(None, None), "gain": _figure(None, None)}
        seen = correlation(self.released, self.films).ravel()
        before = auc(genuine, seen)
        interval = auc_interval(seen, genuine, *whose, stream(seed, "bootstrap", "picture links"), REPLICATES)
        difference = auc_difference_interval(made, seen, genuine, *whose, drawn, REPLICATES)
        gained = _figure(auc(genuine, made) - before, difference)
        return {"auc": own, "auc_released": _figure(before, interval), "gain": gained}


def _figure(value: float | None, bounds: tuple[float, float] | None) -> dict[str, Any]:
    return {"value": value, "ci95": list(bounds) if bounds else None}
