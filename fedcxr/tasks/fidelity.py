"""How much does a released film differ from the one it was made of?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.errors import DataError
from fedcxr.metrics.similarity import joint_histogram, similarity
from fedcxr.table import Row, Table
from fedcxr.tasks import Bench, Evidence, Progress, Task
from fedcxr.verdict.utility import fidelity as in_words
from fedcxr.view import Films, Rows

CHUNK = 64  # films at a time
FIGURES = {"MAE": "mae", "RMSE": "rmse", "PSNR in dB": "psnr", "SSIM": "ssim"}  # that people are shown, by head


class Fidelity(Task):
    """MAE, ME, RMSE in grey levels, PSNR, SSIM and R^2 of each film of the test split, and their joint histogram.

    `unauthorised` has the same figures of what films look like to somebody without a key, where there are keys. The
    mean and the standard deviation are over films. A film that comes back exactly has no finite PSNR and is left out
    of its mean; `exact` counts such films.
    """

    paper: ClassVar[str | None] = "Shiri et al., JBI 2024 (fidelity of authorised reconstructions)"
    deviations: ClassVar[str | None] = (
        "SSIM as Wang et al. 2004 defined it: Gaussian window, sigma 1.5, 11 x 11 pixels, population covariance."
    )

    bins: int = pydantic.Field(default=32, ge=2, le=256, description="grey levels of the joint histogram")

    def applies(self, evidence: Evidence) -> bool:
        return super().applies(evidence) and bool((evidence.origin >= 0).any())

    def measure(self, evidence: Evidence, bench: Bench) -> dict[str, Any]:
        somebodys = evidence.origin >= 0
        test = np.flatnonzero(evidence.rows("test") & somebodys & evidence.view.opened)
        if not len(test):
            raise DataError("fidelity is measured on the test split", given="no film", do="use a larger cohort")
        authorised = self._compared(evidence, np.asarray(evidence.view.forms["films"]), test, bench.progress)
        others, unauthorised = evidence.unauthorised, None
        if others is not None:
            closed = np.flatnonzero(evidence.lent("test")[0] & somebodys)
            unauthorised = self._compared(evidence, others, closed, bench.progress)
        return {**authorised, "unauthorised": unauthorised}

    def _compared(self, evidence: Evidence, shown: Films, rows: Rows, progress: Progress) -> dict[str, Any]:
        """How much what is shown in these rows differs from the films they were made of."""
        parts: dict[str, list[npt.NDArray[np.float64]]] = {}
        histogram = np.zeros((self.bins, self.bins), dtype=np.int64)
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            clean, released = evidence.clean[evidence.origin[some]], shown[some]
            for name, per_film in similarity(clean, released).items():
                parts.setdefault(name, []).append(per_film)
            histogram += joint_histogram(clean, released, self.bins)
            progress("fidelity", start + len(some), len(rows))
        values = {name: np.concatenate(all_films) for name, all_films in parts.items()}
        return {
            **{name: _figure(per_film) for name, per_film in values.items()},
            "exact": int(np.isinf(values["psnr"]).sum()),
            "films": len(rows),
            "joint_histogram": histogram.tolist(),  # rows: the film, columns: what was released
        }

    def table(self, figures: Mapping[str, Any]) -> Table:
        seen = {
            "as they are seen by those they are for": figures,
            "as they look without a key": figures["unauthorised"],
        }
        rows = [
            Row(about, tuple(_told(one[name]) for name in FIGURES.values()))
            for about, one in seen.items()
            if one is not None
        ]
        notes = ("mean over films, and standard deviation; MAE and RMSE in grey levels of 255",)
        return Table(
            "What films look like, beside their originals", tuple(FIGURES), tuple(rows), notes, in_words(figures)
        )


def _told(figure: Mapping[str, float | None]) -> str:
    value, std = figure["value"], figure["std"]
    return "unknown" if value is None else f"{value:.2f}" + ("" if std is None else f" ± {std:.2f}")


def _figure(per_film: npt.NDArray[np.float64]) -> dict[str, float | None]:
    """None where no film has the figure: PSNR of exact copies, R^2 of blank films, SSIM of films below 11 pixels."""
    finite = per_film[np.isfinite(per_film)]
    if not len(finite):
        return {"value": None, "std": None}
    return {"value": float(finite.mean()), "std": float(finite.std())}
