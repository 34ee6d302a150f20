"""How patients are dealt to sites: a patient never stands at two sites unless the scenario asks for it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pydantic

from fedcxr.errors import ConfigError, DataError
from fedcxr.rng import stream

Rows = npt.NDArray[np.intp]


class Partition(pydantic.BaseModel):
    """The keys under `partition:` in a scenario."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    by: Literal["source", "iid", "dirichlet"] = "source"
    alpha: float = pydantic.Field(1.0, gt=0, le=1e6, description="dirichlet: small makes findings cluster at few sites")
    quantity_skew: float = pydantic.Field(
        0.0, ge=0, le=5, description="spread of the log of site sizes; 0: equal sizes (iid and dirichlet)"
    )
    patient_overlap: float = pydantic.Field(
        0.0, ge=0, le=1, description="share of patients with several visits who visit two hospitals"
    )


def site_names(sites: int) -> tuple[str, ...]:
    """`site-1` ... `site-n`."""
    return tuple(f"site-{i + 1}" for i in range(sites))


def deal(
    index: pd.DataFrame, findings: tuple[str, ...], sites: int, partition: Partition, seed: int
) -> dict[str, Rows]:
    """Which rows of the index each site holds, in the order of the index."""
    if index["patient"].isna().any():
        raise DataError("films without a patient", given=f"{int(index['patient'].isna().sum())} of {len(index)}")
    people = _people(index, findings)
    if sites > len(people):
        raise ConfigError(
            "more sites than patients",
            given=f"{sites} sites, {len(people)} patients",
            allowed=f"1 to {len(people)} sites",
        )
    rng = stream(seed, "partition", partition.by)
    if partition.by == "source":
        home = _by_source(index, sites)
    else:
        home = _dealt(people, sites, partition, rng)[people.index.get_indexer(pd.Index(index["patient"]))]
        if partition.patient_overlap:
            home = _send_elsewhere(index, home, sites, partition.patient_overlap, stream(seed, "partition", "overlap"))
    dealt = {name: np.flatnonzero(home == i).astype(np.intp) for i, name in enumerate(site_names(sites))}
    empty = [name for name, rows in dealt.items() if not len(rows)]
    if empty:
        raise ConfigError(
            "some sites would hold no films",
            given=f"partition by {partition.by}: {', '.join(empty)}",
            do="use fewer sites, more patients, a larger alpha or a smaller quantity_skew",
        )
    check_disjoint(index, dealt, shared_patients_allowed=partition.patient_overlap > 0)
    return dealt


def check_disjoint(index: pd.DataFrame, dealt: dict[str, Rows], *, shared_patients_allowed: bool) -> None:
    """Refuse patients who stand in two splits, or at two sites where the scenario does not ask for it."""
    splits = index.groupby("patient", sort=False)["split"].nunique()
    _refuse("patients stand in more than one split", splits.index[splits > 1])
    if not shared_patients_allowed:
        patients = index["patient"].to_numpy()
        homes = pd.DataFrame(
            [(patient, site) for site, rows in dealt.items() for patient in pd.unique(patients[rows])],
            columns=["patient", "site"],
        )
        twice = homes["patient"].value_counts()
        _refuse("patients stand at more than one site", twice.index[twice > 1])


def _refuse(what: str, patients: pd.Index) -> None:
    if len(patients):
        named = ", ".join(map(str, patients[:5])) + (", ..." if len(patients) > 5 else "")
        raise DataError(what, given=f"{len(patients)}: {named}", do="ask for patient_overlap or repair the table")


def _people(index: pd.DataFrame, findings: tuple[str, ...]) -> pd.DataFrame:
    """One row per patient: the share of the visits that show each finding."""
    return index.groupby("patient", sort=True)[list(findings)].mean()


def _by_source(index: pd.DataFrame, sites: int) -> npt.NDArray[np.intp]:
    """Source after source to site after site; sources beyond the number of sites share one."""
    sources = sorted(pd.unique(index["source"]), key=natural)
    if sites > len(sources):
        raise ConfigError(
            "more sites than sources",
            given=f"{sites} sites, {len(sources)} sources",
            do="set cohort.sources for a phantom, or partition.by=iid",
        )
    site_of = {source: i % sites for i, source in enumerate(sources)}
    return index["source"].map(site_of).to_numpy(dtype=np.intp)


def natural(name: str) -> tuple[str, int, str]:
    """Sort source-10 after source-9."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits) if digits else -1, name


def _dealt(people: pd.DataFrame, sites: int, partition: Partition, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """A home site for each patient."""
    sizes = np.exp(partition.quantity_skew * rng.standard_normal(sites))
    sizes /= sizes.sum()
    if partition.by == "iid":
        groups = np.zeros(len(people), dtype=np.intp)
        shares = sizes[None, :]
    else:
        # A patient belongs to the rarest finding he ever shows, so that rare findings really cluster.
        shown = people.to_numpy() > 0
        rarity = np.where(shown, shown.mean(axis=0)[None, :], np.inf)
        groups = np.where(shown.any(axis=1), rarity.argmin(axis=1), shown.shape[1]).astype(np.intp)
        shares = rng.dirichlet(partition.alpha * sites * sizes, size=shown.shape[1] + 1)
    home = np.empty(len(people), dtype=np.intp)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        # Rounding the cumulated shares deals everyone exactly once and keeps each site within one of its share.
        ends = np.round(np.cumsum(shares[group if partition.by == "dirichlet" else 0]) * len(members)).astype(int)
        for site, part in enumerate(np.split(members, ends[:-1])):
            home[part] = site
    return home


def _send_elsewhere(
    index: pd.DataFrame, home: npt.NDArray[np.intp], sites: int, share: float, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Let a share of the patients with several visits have the later half of them at another site."""
    home = home.copy()
    if sites == 1:
        raise ConfigError("patient_overlap needs at least two sites", given=f"{sites} site")
    films = {str(k): np.asarray(v, dtype=np.intp) for k, v in index.groupby("patient", sort=True).indices.items()}
    several = [patient for patient, rows in films.items() if len(rows) > 1]
    travellers = rng.permutation(len(several))[: round(share * len(several))]
    for traveller in travellers:
        rows = films[several[traveller]]
        later = rows[np.argsort(index["visit"].to_numpy()[rows], kind="stable")][(len(rows) + 1) // 2 :]
        home[later] = (home[later] + 1 + rng.integers(sites - 1)) % sites
    return home
