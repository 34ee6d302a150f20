"""Who visits which hospital when, and with which findings: a Gaussian copula over findings and visits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.cohort import COLUMNS, FINDINGS, SPLITS
from fedcxr.data.phantom.tables import Prevalence, tables
from fedcxr.rng import stream

VERSION = 1  # part of every stream: a change that alters films needs a new number

# What the uniform draws of a patient decide, in their order; the last is spare.
VISITS, SEX, AGE, SPLIT, HOME, ELSEWHERE, TRAVELS, SPARE = range(8)


@dataclass(frozen=True)
class Population:
    """What a cohort is drawn from."""

    seed: int
    mean_visits: float
    prevalence: Prevalence
    sources: int
    patient_overlap: float
    splits: tuple[float, float, float]
    years_between: float  # two visits, on average
    aging: float  # what a year does to a body, as a share of what sets people apart


@dataclass(frozen=True)
class Visits:
    """One entry per film: who, when, where, and what is to be seen."""

    population: npt.NDArray[np.object_]  # (n,) the seed of the people a patient is one of
    patient: npt.NDArray[np.int64]  # (n,)
    visit: npt.NDArray[np.int64]  # (n,) 0, 1, ... per patient
    source: npt.NDArray[np.int64]  # (n,) 0, 1, ...
    split: npt.NDArray[np.int64]  # (n,) position in SPLITS
    age: npt.NDArray[np.int64]  # (n,) years
    aged: npt.NDArray[np.float32]  # (n,) what the years have done to the body so far
    female: npt.NDArray[np.bool_]  # (n,)
    ap: npt.NDArray[np.bool_]  # (n,) filmed from the front, lying or sitting in bed
    findings: npt.NDArray[np.bool_]  # (n, 14)
    severity: npt.NDArray[np.float32]  # (n, 14) 0 barely visible to 1 severe; 0 where absent

    def __len__(self) -> int:
        return len(self.patient)

    def take(self, rows: slice | npt.NDArray[np.intp]) -> Visits:
        """The films at these positions."""
        return Visits(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def index(self) -> pd.DataFrame:
        """The index table of a cohort."""
        # Number 7 of another population is somebody else; the usual one goes without saying.
        people = [f"phantom-{seed}" if seed else "phantom" for seed in self.population]
        patient = np.array([f"{of}-{n:06d}" for of, n in zip(people, self.patient, strict=True)], dtype=object)
        frame = pd.DataFrame(
            {
                "image": [f"{name}-{visit:02d}" for name, visit in zip(patient, self.visit, strict=True)],
                "patient": patient,
                "visit": self.visit,
                "view": np.where(self.ap, "AP", "PA"),
                "age": self.age,
                "sex": np.where(self.female, "F", "M"),
                "source": [f"source-{number + 1}" for number in self.source],
                "split": np.array(SPLITS)[self.split],
            }
        )
        assert tuple(frame.columns) == COLUMNS
        return frame.join(pd.DataFrame(self.findings.astype(np.float32), columns=list(FINDINGS)))


def sample(population: Population, patients: range) -> Visits:
    """All visits of these patients; what one patient gets does not depend on who else is asked for."""
    table = tables()
    share = table.shares(population.prevalence)
    thresholds = np.array([NormalDist().inv_cdf(1 - p) for p in share])
    more_visits_than = np.cumsum(table.visits(population.mean_visits))

    persons, counts, latent_patient, latent_visit, gaps, away = [], [], [], [], [], []
    for patient in patients:
        draws = stream(population.seed, "phantom", VERSION, patient, "history")
        person = draws.random(SPARE + 1)
        count = min(1 + int(np.searchsorted(more_visits_than, person[VISITS])), len(more_visits_than))
        persons.append(person)
        counts.append(count)
        latent_patient.append(draws.standard_normal(len(share)))
        latent_visit.append(draws.standard_normal((count, len(share))))
        gaps.append(np.cumsum(draws.exponential(population.years_between, count)))
        away.append(_elsewhere(draws.random(count) < 0.5))

    rows = np.repeat(np.arange(len(patients)), counts)
    person_of = np.array(persons)[rows]
    latent = _correlated(np.array(latent_patient), table.correlation, table.persistence)[rows]
    latent += _correlated(np.concatenate(latent_visit), table.correlation, table.persistence, within=False)
    present = latent > thresholds
    findings = present[:, : len(FINDINGS)]
    years = np.concatenate(gaps)
    first_age = np.interp(person_of[:, AGE], np.linspace(0, 1, len(table.age_quantiles)), table.age_quantiles)
    return Visits(
        population=np.full(len(rows), population.seed, dtype=object),
        patient=np.array(patients, dtype=np.int64)[rows],
        visit=np.concatenate([np.arange(count) for count in counts]),
        source=_sources(person_of, np.concatenate(away), population),
        split=np.searchsorted(np.cumsum(population.splits)[:2], person_of[:, SPLIT], side="right"),
        age=(first_age + years).astype(np.int64),
        aged=(population.aging * years).astype(np.float32),
        female=person_of[:, SEX] >= table.male,
        ap=present[:, len(FINDINGS)],
        findings=findings,
        severity=_severity(latent[:, : len(FINDINGS)], findings, share),
    )


def _sources(
    person: npt.NDArray[np.float64], away: npt.NDArray[np.bool_], population: Population
) -> npt.NDArray[np.int64]:
    home = (person[:, HOME] * population.sources).astype(np.int64)
    step = 1 + (person[:, ELSEWHERE] * (population.sources - 1)).astype(np.int64)
    travels = (person[:, TRAVELS] < population.patient_overlap) & away
    return np.where(travels, (home + step) % population.sources, home)


def _elsewhere(away: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which visits a travelling patient makes away from home: at least one, and not all."""
    if len(away) > 1 and away.all() == away.any():
        away[-1] = not away[0]
    return away if len(away) > 1 else np.zeros(1, dtype=bool)


def _correlated(
    draws: npt.NDArray[np.float64],
    correlation: npt.NDArray[np.float64],
    persistence: npt.NDArray[np.float64],
    *,
    within: bool = True,
) -> npt.NDArray[np.float64]:
    """Independent draws turned into the share of the latent variables that stays with a patient, or that does not.

    The two covariances sum to `correlation`, so that findings co-occur on a film as in the table.
    """
    stays = correlation * np.sqrt(np.outer(persistence, persistence))
    factor = np.linalg.cholesky(stays if within else correlation - stays)
    mixed = np.zeros_like(draws)
    for column, weights in zip(draws.T, factor.T, strict=True):
        mixed += column[:, None] * weights  # not a matrix product, whose rounding depends on the number of rows
    return mixed


def _severity(
    latent: npt.NDArray[np.float64],
    findings: npt.NDArray[np.bool_],
    share: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """How far beyond its threshold a finding is, as a quantile: uniform, and as persistent as the finding."""
    severity = np.zeros(findings.shape, dtype=np.float32)
    for row, finding in np.argwhere(findings):
        beyond = 0.5 * math.erfc(latent[row, finding] / math.sqrt(2))
        severity[row, finding] = 1 - beyond / share[finding]
    return severity
