"""Can lungs still be found on protected films? The masks of a segmentation against those of the films themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.cohort import Annotation
from fedcxr.errors import DataError
from fedcxr.methods import Masks, RunContext
from fedcxr.metrics.bootstrap import mean_interval
from fedcxr.rng import stream
from fedcxr.table import Row, Table, figure, span
from fedcxr.tasks import Bench, Evidence, Task
from fedcxr.view import Films, Rows

ARMS = {"released": "found on released films", "clean": "found on the films themselves: the ceiling"}


class LungMasks(Task):
    """Dice of lungs on the test split, found by the network that comes with the library or by the darkest pixels.

    Where a method moves pixels, the true masks are moved with them.
    """

    by: Literal["network", "darkness"] = "network"
    bootstraps: int = pydantic.Field(1000, ge=1, le=100_000)

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return ("lungs",)

    def applies(self, evidence: Evidence) -> bool:
        return bool(self._rows(evidence).any())

    def _rows(self, evidence: Evidence) -> npt.NDArray[np.bool_]:  # (n,)
        """Released rows of the test split that somebody sees, made of a film with a mask."""
        real = evidence.rows("test") & evidence.view.opened & (evidence.origin >= 0)
        real[real] = evidence.cohort.masked("lungs")[evidence.origin[real]]
        return real

    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        rows = np.flatnonzero(self._rows(evidence))
        if not len(rows):
            raise DataError("lungs are looked for on the test split", given="no film with a mask of them")
        origin = evidence.origin[rows]
        clean, true = evidence.clean[origin], evidence.cohort.mask("lungs", origin)
        released = np.asarray(evidence.view.forms["films"], dtype=np.uint8)[rows]
        moved = _moved(evidence, origin, true, clean, RunContext.on(bench.compute))
        with bench.compute.session():
            dice = {"released": _dice(self._found(released), moved), "clean": _dice(self._found(clean), true)}
        patients = evidence.patients[rows]
        bench.progress("lung masks", len(rows), len(rows))
        return {"films": len(rows), **{arm: self._figure(values, patients, bench) for arm, values in dice.items()}}

    def _found(self, films: Films) -> Masks:
        if self.by == "darkness":  # lungs are a third of a film, and its darkest third
            return np.asarray(films <= np.quantile(films, 1 / 3, axis=(1, 2), keepdims=True))
        from fedcxr.models.lungs import LungFinder  # here and not above: it imports torch

        return LungFinder.load().masks(films)

    def _figure(self, dice: npt.NDArray[np.float64], patients: npt.NDArray[np.object_], bench: Bench) -> dict[str, Any]:
        rng = stream(bench.seed, "lung masks", "bootstrap")
        bounds = mean_interval(dice, patients, rng, self.bootstraps)
        return {"dice": {"value": float(dice.mean()), "ci95": list(bounds) if bounds else None}}

    def table(self, figures: Mapping[str, Any]) -> Table:
        rows = [
            Row(told, (figure(figures[arm]["dice"]["value"]), span(figures[arm]["dice"]["ci95"])))
            for arm, told in ARMS.items()
        ]
        return Table("Where the lungs are: Dice of their masks", ("Dice", "95 % interval"), tuple(rows))


def _moved(evidence: Evidence, origin: Rows, masks: Masks, clean: Films, context: RunContext) -> Masks:
    """Where the lungs lie on released films, each moved as the site moved it whose film it is."""
    moved = masks.copy()
    for version, weights in enumerate(evidence.taught):
        here = evidence.versions[origin] == version
        if here.any():
            moved[here] = evidence.method.moved(masks[here], clean[here], weights, context)
    return moved


def _dice(found: Masks, true: Masks) -> npt.NDArray[np.float64]:  # (n,)
    both, sizes = (found & true).sum(axis=(1, 2)), found.sum(axis=(1, 2)) + true.sum(axis=(1, 2))
    return np.asarray(2.0 * both / np.maximum(sizes, 1))
