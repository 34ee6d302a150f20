"""The statistics a phantom cohort follows: tables.json, derived from NIH's table by fit_tables.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedcxr.cohort import FINDINGS
from fedcxr.errors import ConfigError

Array = npt.NDArray[np.float64]
Prevalence = Literal["nih", "boosted"]

BOOSTED = 0.08  # at 800 patients and 3.6 visits this leaves some 230 films of the rarest finding


@dataclass(frozen=True)
class Tables:
    """Shares and correlations of the 14 findings and, as fifteenth variable, of the AP projection."""

    share: Array  # (15,) of films
    correlation: Array  # (15, 15) of the normal variables behind them, same film
    persistence: Array  # (15,) correlation of the same variable at two visits of a patient
    patients_with_visits: Array  # (60,) patients with 1, 2, ... visits
    male: float
    age_quantiles: Array  # years, evenly spaced from the youngest to the oldest

    def shares(self, prevalence: Prevalence) -> Array:
        """Share of films per variable, as in NIH or with the rare findings made more frequent."""
        if prevalence == "nih":
            return self.share
        findings = np.arange(len(self.share)) < len(FINDINGS)
        return np.where(findings, np.maximum(self.share, BOOSTED), self.share)

    def visits(self, mean: float) -> Array:
        """Probability of 1, 2, ... visits: NIH's histogram, tilted exponentially to this mean."""
        count = np.arange(1, len(self.patients_with_visits) + 1)
        low, high = -30.0, 30.0
        for _ in range(60):
            tilt = (low + high) / 2
            logits = np.log(self.patients_with_visits) + tilt * (count - 1)
            weights: Array = np.exp(logits - logits.max())
            weights = weights / weights.sum()
            low, high = (tilt, high) if weights @ count < mean else (low, tilt)
        return weights


@cache
def tables() -> Tables:
    """The tables shipped with the package."""
    found = json.loads(resources.files(__package__).joinpath("tables.json").read_text("utf-8"))
    if tuple(found["latent"]) != (*FINDINGS, "AP"):
        raise ConfigError("tables.json names other findings", do="run fit_tables.py again")
    return Tables(
        share=np.array(found["share"]),
        correlation=np.array(found["correlation"]),
        persistence=np.array(found["persistence"]),
        patients_with_visits=np.array(found["patients_with_visits"], dtype=float),
        male=found["male"],
        age_quantiles=np.array(found["age_quantiles"]),
    )
