"""The whole experiment as pure functions: what sites release, what is measured on it, what the adversary holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.adversaries import Auxiliary, Leak
from fedcxr.cohort import Cohort
from fedcxr.consortium import join
from fedcxr.data import Source
from fedcxr.data._vocabulary import canonical
from fedcxr.errors import DataError
from fedcxr.methods.none import Unprotected
from fedcxr.partition import Rows, deal
from fedcxr.release import AnswerKey, Release
from fedcxr.rng import derive, stream
from fedcxr.scenario import Scenario
from fedcxr.tasks import Evidence, Progress

if TYPE_CHECKING:
    from fedcxr.compute import Compute


def site_step(scenario: Scenario, site: str, cohort: Cohort, seed: int) -> Release:
    """What one hospital does: put its films in an order that tells nothing, fit, release.

    `seed` is the scenario's in a simulation. At a real hospital it is the hospital's own secret: whoever
    knows it can draw the same noise again and subtract it.
    """
    shuffled = cohort.take(release_order(site, len(cohort), seed))
    weights = scenario.method.fit(shuffled.where("train"), stream(seed, "site", site, "fit"))
    release = scenario.method.release(shuffled, site, weights, stream(seed, "site", site, "release"))
    if release.site != site or (release.kind != "update" and len(release) != len(cohort)):
        raise DataError(
            f"method {scenario.method.plugin_name()} released the wrong films",
            given=f"{len(release)} films as {release.site}",
            allowed=f"{len(cohort)} films as {site}",
        )
    return release


def release_order(site: str, films: int, seed: int) -> Rows:
    """The order of a site's films in its release: neighbours in a table are often films of one patient."""
    return stream(seed, "site", site, "order").permutation(films).astype(np.intp)


@dataclass(frozen=True)
class Experiment:
    """What the experimenter of a simulation holds, and nobody in a deployment does: everything."""

    scenario: Scenario
    cohort: Cohort
    dealt: Mapping[str, Rows]

    @classmethod
    def of(cls, scenario: Scenario, cohort: Cohort) -> Experiment:
        """One cohort, dealt out to the sites."""
        sites = len(scenario.site_names)
        return cls(scenario, cohort, deal(cohort.index, cohort.findings, sites, scenario.partition, scenario.seed))

    @classmethod
    def open(cls, scenario: Scenario, cache: Path, workers: int = 1, progress: Progress | None = None) -> Experiment:
        """The scenario's films, made on first use: one cohort to deal out, or each site's own."""

        def opened(source: Source, what: str) -> Cohort:
            return source.open(cache, workers=workers, progress=partial(progress, what) if progress else None)

        if scenario.cohort is not None:
            return cls.of(scenario, opened(scenario.cohort, "films"))
        return cls(
            scenario, *join({site: opened(source, f"films of {site}") for site, source in scenario.own_sources.items()})
        )

    def site(self, name: str) -> Cohort:
        """The films one hospital holds."""
        return self.cohort.take(self.dealt[name])

    def truth(self, releases: Sequence[Release]) -> Rows:
        """For each released film, release after release, the row of the cohort it was made of."""
        seed = self.scenario.seed
        for release in releases:
            held = len(self.dealt[release.site])
            if len(release) != held or release.arrays["films"].shape[1:] != self.cohort.size:
                raise DataError(
                    f"the release of {release.site} does not fit the films it holds",
                    given=release.arrays["films"].shape,
                    allowed=f"{(held, *self.cohort.size)}",
                )
        parts = [self.dealt[r.site][release_order(r.site, len(self.dealt[r.site]), seed)] for r in releases]
        return np.concatenate(parts)

    def answers(self, releases: Sequence[Release]) -> AnswerKey:
        """Who is who, by release and row."""
        rows = self.truth(releases)
        index = self.cohort.index.iloc[rows]
        return AnswerKey(
            pd.DataFrame(
                {
                    "site": np.repeat([r.site for r in releases], [len(r) for r in releases]),
                    "row": np.concatenate([np.arange(len(r)) for r in releases]),
                    "film": rows,
                    "patient": index["patient"].to_numpy(),
                    "source": index["source"].to_numpy(),
                    "attacked": self._attacked(rows),
                }
            )
        )

    def evidence(self, releases: Sequence[Release]) -> Evidence:
        """What tasks are measured on."""
        rows = self.truth(releases)
        return Evidence(
            released=np.concatenate([r.arrays["films"] for r in releases]),
            clean=self.cohort.films(rows),
            labels=np.concatenate([self._labels(r) for r in releases]),
            split=np.concatenate([r.arrays["split"] for r in releases]),
            patients=self.cohort.patients[rows],
            findings=self.cohort.findings,
        )

    def _labels(self, release: Release) -> npt.NDArray[np.float32]:  # (n, k)
        """A release's findings in the order of the whole cohort's; those the site does not know are unknown."""
        place = {finding: column for column, finding in enumerate(self.cohort.findings)}
        told = [canonical(name) for name in release.facts["findings"]]
        strange = [name for name in told if name not in place]
        if strange:
            raise DataError(f"{release.site} released findings that it does not have", given=", ".join(strange))
        labels = np.full((len(release), len(place)), np.nan, dtype=np.float32)
        labels[:, [place[name] for name in told]] = release.arrays["findings"]
        return labels

    def known_rows(self) -> Rows:
        """Which real films of the attacked people the adversary has from elsewhere.

        Never a film whose release is attacked: an adversary who holds the original need not ask whose it is.
        A patient with a single film is attacked, but unknown: most people in a leak are in nobody's album.
        """
        test = np.flatnonzero(self.cohort.index["split"].to_numpy() == "test")
        chosen: list[npt.NDArray[np.intp]] = []
        for patient, places in (
            pd.Series(self.cohort.patients[test]).groupby(self.cohort.patients[test]).indices.items()
        ):
            if len(places) > 1:
                share = round(self.scenario.knowledge.known_films * len(places))
                known = min(max(share, 1), len(places) - 1)
                rng = stream(self.scenario.seed, "known", str(patient))
                chosen.append(test[np.sort(rng.permutation(places)[:known])])
        if not chosen:
            raise DataError(
                "no attacked patient has two films, so nobody can be re-identified or not",
                given=f"{len(test)} films in the test split",
                do="use a cohort with several visits per patient",
            )
        return np.sort(np.concatenate(chosen))

    def _attacked(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of these released films are attacked: the test split's, as the table says and not the release."""
        test = self.cohort.index["split"].to_numpy()[rows] == "test"
        return np.asarray(test & ~np.isin(rows, self.known_rows()))

    def auxiliary(self) -> dict[str, Auxiliary]:
        """What the adversary owns in earnest and in the two controls: clean films of the train and val splits.

        `control_raw` is the same attack on unprotected films: it must succeed. `control_shuffled` is the same
        attack in a world where identities mean nothing: it must be at chance.
        """
        mine = self.cohort.take(self.cohort.index["split"].to_numpy() != "test")
        true = Auxiliary(
            films=mine.films(),
            people=pd.factorize(mine.index["patient"])[0].astype(np.int64),
            sources=pd.factorize(mine.index["source"])[0].astype(np.int64),
            held_out=mine.index["split"].to_numpy() == "val",
        )
        meaningless = self.shuffled_patients()[self.cohort.index["split"].to_numpy() != "test"]
        shuffled = replace(true, people=pd.factorize(meaningless)[0].astype(np.int64))
        return {"protected": true, "control_raw": true, "control_shuffled": shuffled}

    def shuffled_patients(self) -> npt.NDArray[np.object_]:  # (n,)
        """A patient for every film of the cohort, by lot.

        One lot for the adversary's own films and for the answers: should a film ever stand on both sides, what was
        learnt about its lot will show as an AUC above chance.
        """
        patients = self.cohort.patients.copy()
        test = self.cohort.index["split"].to_numpy() == "test"
        for part, name in ((test, "test"), (~test, "auxiliary")):
            patients[part] = stream(self.scenario.seed, "control", "identities", name).permutation(patients[part])
        return patients

    def leaks(self, releases: Sequence[Release]) -> dict[str, Leak]:
        """All the adversary holds once the sites have released, in earnest and in the two controls."""
        rows = self.truth(releases)
        attacked = self._attacked(rows)
        released = np.concatenate([r.arrays["films"] for r in releases])[attacked]
        known = self.cohort.films(self.known_rows())
        mechanism = self.scenario.method if self.scenario.knowledge.mechanism else None
        owned = self.auxiliary()
        return {
            "protected": Leak(released, known, owned["protected"], mechanism),
            "control_raw": Leak(self.cohort.films(rows[attacked]), known, owned["control_raw"], Unprotected()),
            "control_shuffled": Leak(released, known, owned["control_shuffled"], mechanism),
        }


def utility_step(
    scenario: Scenario, task: str, evidence: Evidence, compute: Compute, progress: Progress
) -> dict[str, Any]:
    """One measure of what the releases are good for."""
    return scenario.tasks[task].measure(evidence, derive(scenario.seed, "task", task), compute, progress)


def attack_seed(scenario: Scenario, adversary: str) -> int:
    """The adversary's own seed: from the scenario's it could draw the noise again and subtract it."""
    return derive(scenario.seed, "adversary", adversary)
