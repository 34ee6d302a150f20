"""What the experimenter of a simulation holds, and nobody in a deployment does: everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcxr.adversaries._outsider import Onlooker
from fedcxr.codes import Codes
from fedcxr.cohort import Cohort
from fedcxr.data import Source
from fedcxr.data._vocabulary import canonical
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.keys.custody import SERVER
from fedcxr.methods import Films, Weights
from fedcxr.methods._coded import CodeMethod
from fedcxr.partition import Rows, deal
from fedcxr.protocol import release_order, workshop_of
from fedcxr.reading import Reading, foreign_keys, read
from fedcxr.release import Release
from fedcxr.scenario import Scenario
from fedcxr.simulation.consortium import join
from fedcxr.simulation.custody import Simulated, simulated_identity
from fedcxr.tasks import Evidence, Progress


@dataclass(frozen=True)
class Experiment:
    """One scenario, all films, and which site holds which."""

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

    @property
    def tested(self) -> npt.NDArray[np.bool_]:
        """Which films are of the test split: of the people on whom all is measured, and of whom nobody learns."""
        return np.asarray(self.cohort.index["split"].to_numpy() == "test")

    @property
    def others(self) -> Cohort:
        """The films of all other people."""
        return self.cohort.take(~self.tested)

    def truth(self, releases: Sequence[Release]) -> Rows:
        """For each released film, release after release, the row of the cohort it was made of."""
        seed = self.scenario.seed
        for release in releases:
            held = len(self.dealt[release.site])
            if len(release) + len(release.left_out) != held or release.size != self.cohort.size:
                raise DataError(
                    f"the release of {release.site} does not fit the films it holds",
                    given=f"{(len(release), *release.size)}",
                    allowed=f"{(held, *self.cohort.size)}",
                )
        orders = {r.site: release_order(r.site, len(self.dealt[r.site]), seed) for r in releases}
        return np.concatenate([np.delete(self.dealt[r.site][orders[r.site]], r.left_out) for r in releases])

    def reading(self, release: Release, reader: str, learnt: Release | None = None) -> Reading:
        """A release as a site or the coordinator sees it; `learnt` is what was learnt away from the sites."""
        seed = self.scenario.seed
        return read(
            self.scenario.method,
            release,
            simulated_identity(seed, reader),
            simulated_identity(seed, release.site).public,
            weights_behind(release, learnt),
            workshop_of(self.scenario, release.site, None),
        )

    def evidence(self, releases: Sequence[Release], learnt: Release | None = None) -> Evidence:
        """What tasks are measured on: the releases as they are read by the one whom the scenario has read them."""
        rows = self.truth(releases)
        readings = [self.reading(release, self.scenario.reader, learnt) for release in releases]
        clean = self.cohort.films(rows)
        return Evidence(
            released=np.concatenate([reading.films for reading in readings]),
            opened=np.concatenate([reading.opened for reading in readings]),
            clean=clean,
            labels=np.concatenate([self._labels(r) for r in releases]),
            split=np.concatenate([r.arrays["split"] for r in releases]),
            patients=self.cohort.patients[rows],
            findings=self.cohort.findings,
            codes=self._codes(releases, readings, clean, learnt),
            unauthorised=self._unauthorised(releases, learnt),
        )

    def _codes(
        self, releases: Sequence[Release], readings: Sequence[Reading], clean: Films, learnt: Release | None
    ) -> dict[str, Codes]:
        """Codes as the tasks ask for them: as published, as purified with the reader's keys, and of the clean films."""
        method, forms = self.scenario.method, {task.form for task in self.scenario.tasks.values()}
        codes: dict[str, list[Codes]] = {}
        if isinstance(method, CodeMethod):
            for release, reading, films in zip(releases, readings, np.split(clean, ends(releases)), strict=True):
                if "codes" in forms:
                    codes.setdefault("public", []).append(release.arrays["codes"].astype(np.int8, copy=False))
                if "purified" in forms:
                    workshop = workshop_of(self.scenario, release.site, None)
                    codec = method.codec(weights_behind(release, learnt), workshop)
                    codes.setdefault("purified", []).append(reading.codes)
                    codes.setdefault("clean", []).append(codec.encode(films))
        return {form: np.concatenate(parts) for form, parts in codes.items()}

    def _unauthorised(self, releases: Sequence[Release], learnt: Release | None) -> Films | None:  # (n, h, w)
        """Codes as they look to somebody without any key, who has films of people that are not tested on."""
        method = self.scenario.method
        if not isinstance(method, CodeMethod):
            return None
        own = self.others.films()
        shown: list[Films] = []
        onlooker: Onlooker | None = None
        for release in releases:
            if onlooker is None or release.weights:  # the same for all sites, unless each has a codec of its own
                workshop = workshop_of(self.scenario, release.site, None)
                onlooker = Onlooker(method, own, weights_behind(release, learnt), workshop)
            shown.append(onlooker.pictures(release.arrays.get("codes"), len(release)))
        return np.concatenate(shown)

    def access(self, releases: Sequence[Release], learnt: Release | None = None) -> dict[str, Any] | None:
        """Who may read what, and what the key of one site does to another's films; None where there are no keys."""
        method, scenario = self.scenario.method, self.scenario
        if not isinstance(method, CodeMethod):
            return None
        readers = dict.fromkeys((SERVER, *scenario.grant))
        others = [self.release_key(site) for site in scenario.site_names]
        return {
            "reader": scenario.reader,
            "granted": dict(scenario.grant),
            "readers": [self._reader(name, releases, learnt) for name in readers],
            "other_site": foreign_keys(method, releases, others),
        }

    def _reader(self, name: str, releases: Sequence[Release], learnt: Release | None) -> dict[str, Any]:
        readings = [self.reading(release, name, learnt) for release in releases]
        return {
            "name": name,
            "films": sum(len(release) for release in releases),
            "opened": sum(int(reading.opened.sum()) for reading in readings),
            "refusals": {
                r.site: reading.refusal for r, reading in zip(releases, readings, strict=True) if reading.refusal
            },
        }

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

    def release_key(self, site: str, release: str = "") -> ReleaseKey:
        """A simulated site's key for its release in this run, or for another one."""
        return Simulated(self.scenario.seed, site, {}).begin(f"{self.scenario.run_name}{release}", ())


def weights_behind(release: Release, learnt: Release | None) -> Weights:
    """What the method learnt that made this release."""
    return release.weights if learnt is None else learnt.weights


def ends(releases: Sequence[Release]) -> npt.NDArray[np.intp]:
    """Where, in arrays of all released films, one release ends and the next begins."""
    return np.cumsum([len(release) for release in releases])[:-1]
