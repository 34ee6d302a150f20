"""What the experimenter of a simulation holds, and nobody in a deployment does: everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr import granted
from fedcxr.adversaries import Auxiliary, Coded, Leak
from fedcxr.adversaries._outsider import Onlooker
from fedcxr.cohort import Cohort
from fedcxr.consortium import join
from fedcxr.custody import SERVER, Simulated, simulated_identity
from fedcxr.data import Source
from fedcxr.data._vocabulary import canonical
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.methods import Films, Weights
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.none import Unprotected
from fedcxr.partition import Rows, deal
from fedcxr.protocol import COORDINATOR, release_order, workshop_of
from fedcxr.reading import Reading, foreign_keys, read
from fedcxr.release import AnswerKey, Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.sparse import Codes
from fedcxr.tasks import Evidence, Progress

if TYPE_CHECKING:
    pass


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

    def reading(self, release: Release, reader: str, learnt: Release | None = None) -> Reading:
        """A release as a site or the coordinator sees it; `learnt` is what was learnt away from the sites."""
        seed = self.scenario.seed
        return read(
            self.scenario.method,
            release,
            simulated_identity(seed, reader),
            simulated_identity(seed, release.site).public,
            _weights(release, learnt),
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
            for release, reading, films in zip(releases, readings, np.split(clean, _ends(releases)), strict=True):
                if "codes" in forms:
                    codes.setdefault("public", []).append(release.arrays["codes"].astype(np.int8, copy=False))
                if "purified" in forms:
                    codec = method.codec(_weights(release, learnt), workshop_of(self.scenario, release.site, None))
                    codes.setdefault("purified", []).append(reading.codes)
                    codes.setdefault("clean", []).append(codec.encode(films))
        return {form: np.concatenate(parts) for form, parts in codes.items()}

    def _unauthorised(self, releases: Sequence[Release], learnt: Release | None) -> Films | None:  # (n, h, w)
        """Codes as they look to somebody without any key, who has films of people that are not tested on."""
        method = self.scenario.method
        if not isinstance(method, CodeMethod):
            return None
        own = self.cohort.take(self.cohort.index["split"].to_numpy() != "test").films()
        shown: list[Films] = []
        onlooker: Onlooker | None = None
        for release in releases:
            if onlooker is None or release.weights:  # the same for all sites, unless each has a codec of its own
                workshop = workshop_of(self.scenario, release.site, None)
                onlooker = Onlooker(method, own, _weights(release, learnt), workshop)
            shown.append(onlooker.pictures(release.arrays.get("codes"), len(release)))
        return np.concatenate(shown)

    def access(self, releases: Sequence[Release], learnt: Release | None = None) -> dict[str, Any] | None:
        """Who may read what, and what the key of one site does to another's films; None where there are no keys."""
        method, scenario = self.scenario.method, self.scenario
        if not isinstance(method, CodeMethod):
            return None
        readers = dict.fromkeys((SERVER, *scenario.grant))
        others = [self._release_key(site) for site in scenario.site_names]
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

    def leaks(self, releases: Sequence[Release], learnt: Release | None = None) -> dict[str, Leak]:
        """All the adversary holds once the sites have released, in earnest and in the two controls.

        `learnt` is what the method learnt away from the sites, if it did; what sites learnt is in their releases.
        """
        rows = self.truth(releases)
        attacked = self._attacked(rows)
        codes = self.scenario.method.kind == "codes"
        released = np.concatenate([r.arrays["sealed" if codes else "films"] for r in releases])[attacked]
        coded = self._coded(releases, attacked, learnt) if codes else None
        known = self.cohort.films(self.known_rows())
        mechanism = self.scenario.method if self.scenario.knowledge.mechanism else None
        taught = [r.weights for r in ([learnt] if learnt is not None else releases) if r.weights] if mechanism else []
        owned = self.auxiliary()
        return {
            "protected": Leak(released, known, owned["protected"], mechanism, tuple(taught), coded),
            "control_raw": Leak(self.cohort.films(rows[attacked]), known, owned["control_raw"], Unprotected()),
            "control_shuffled": Leak(released, known, owned["control_shuffled"], mechanism, tuple(taught), coded),
        }

    def _coded(self, releases: Sequence[Release], attacked: npt.NDArray[np.bool_], learnt: Release | None) -> Coded:
        """What is public of the attacked films' codes, and whatever else the threat model grants of codes."""
        method, knowledge, coded = self.scenario.method, self.scenario.knowledge, granted.coded(releases, attacked)
        assert isinstance(method, CodeMethod), "codes are released by methods that share codes"
        workshop = workshop_of(self.scenario, COORDINATOR, None)
        if knowledge.keys:
            leaky = self.scenario.site_names[: knowledge.keys]
            keys = [self._release_key(release.site) if release.site in leaky else None for release in releases]
            taken = [(r, key, _weights(r, learnt)) for r, key in zip(releases, keys, strict=True)]
            opened, films = granted.opened(method, taken, workshop)
            coded = replace(coded, opened=opened[attacked], films=films[attacked])
        if coded.public is None:
            return coded
        chosen = self.paired(releases)
        owned = np.flatnonzero(self.cohort.index["split"].to_numpy() != "test")
        own = np.searchsorted(owned, self.truth(releases)[chosen])
        coded = replace(coded, pairs=granted.pairs(releases, chosen, own))
        if knowledge.releases == 1:
            return coded
        held = [
            (
                self._release_key(release.site, "again"),
                self.cohort.take(self.truth([release])[here]),
                _weights(release, learnt),
            )
            for release, here in zip(releases, np.split(attacked, _ends(releases)), strict=True)
        ]
        return replace(coded, again=granted.hidden_again(method, held, workshop))

    def _release_key(self, site: str, release: str = "") -> ReleaseKey:
        """A simulated site's key for its release in this run, or for another one."""
        return Simulated(self.scenario.seed, site, {}).begin(f"{self.scenario.run_name}{release}", ())

    def paired(self, releases: Sequence[Release]) -> Rows:
        """Places in the releases, one after the other, of films that the adversary owns and is told of: by lot."""
        owned = self.cohort.index["split"].to_numpy()[self.truth(releases)] != "test"
        lot = stream(self.scenario.seed, "pairs").permutation(np.flatnonzero(owned))
        return np.asarray(lot[: self.scenario.knowledge.pairs], dtype=np.intp)


def _weights(release: Release, learnt: Release | None) -> Weights:
    """What the method learnt that made this release."""
    return release.weights if learnt is None else learnt.weights


def _ends(releases: Sequence[Release]) -> npt.NDArray[np.intp]:
    """Where, in arrays of all released films, one release ends and the next begins."""
    return np.cumsum([len(release) for release in releases])[:-1]
