"""What the adversary of a simulation owns, is granted and is asked: the scenario's threat model, put into films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedcxr.adversaries import Auxiliary, Coded, Leak
from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.none import Unprotected
from fedcxr.partition import Rows
from fedcxr.protocol import COORDINATOR, workshop_of
from fedcxr.release import AnswerKey, Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.simulation import granted
from fedcxr.simulation.experiment import Experiment, ends, weights_behind


@dataclass(frozen=True)
class Threat:
    """The people of the test split are attacked; the films of all others are the adversary's own."""

    experiment: Experiment

    @property
    def scenario(self) -> Scenario:
        return self.experiment.scenario

    @property
    def cohort(self) -> Cohort:
        return self.experiment.cohort

    # Whom it attacks ------------------------------------------------------------------------------------------------

    def known_rows(self) -> Rows:
        """Which real films of the attacked people the adversary has from elsewhere.

        Never a film whose release is attacked: an adversary who holds the original need not ask whose it is.
        A patient with a single film is attacked, but unknown: most people in a leak are in nobody's album.
        """
        test = np.flatnonzero(self.experiment.tested)
        patients = self.cohort.patients[test]
        chosen: list[npt.NDArray[np.intp]] = []
        for patient, places in pd.Series(patients).groupby(patients).indices.items():
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

    def answers(self, releases: Sequence[Release]) -> AnswerKey:
        """Who is who, by release and row."""
        rows = self.experiment.truth(releases)
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

    def _attacked(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of these released films are attacked: the test split's, as the table says and not the release."""
        return np.asarray(self.experiment.tested[rows] & ~np.isin(rows, self.known_rows()))

    # What it owns ---------------------------------------------------------------------------------------------------

    def auxiliary(self) -> dict[str, Auxiliary]:
        """What the adversary owns in earnest and in the two controls: clean films of the train and val splits.

        `control_raw` is the same attack on unprotected films: it must succeed. `control_shuffled` is the same
        attack in a world where identities mean nothing: it must be at chance.
        """
        mine = self.experiment.others
        true = Auxiliary(
            films=mine.films(),
            people=pd.factorize(mine.index["patient"])[0].astype(np.int64),
            sources=pd.factorize(mine.index["source"])[0].astype(np.int64),
            held_out=mine.index["split"].to_numpy() == "val",
        )
        shuffled = replace(
            true, people=pd.factorize(self.shuffled_patients()[~self.experiment.tested])[0].astype(np.int64)
        )
        return {"protected": true, "control_raw": true, "control_shuffled": shuffled}

    def shuffled_patients(self) -> npt.NDArray[np.object_]:  # (n,)
        """A patient for every film of the cohort, by lot.

        One lot for the adversary's own films and for the answers: should a film ever stand on both sides, what was
        learnt about its lot will show as an AUC above chance.
        """
        patients, test = self.cohort.patients.copy(), self.experiment.tested
        for part, name in ((test, "test"), (~test, "auxiliary")):
            patients[part] = stream(self.scenario.seed, "control", "identities", name).permutation(patients[part])
        return patients

    # What leaks -----------------------------------------------------------------------------------------------------

    def leaks(self, releases: Sequence[Release], learnt: Release | None = None) -> dict[str, Leak]:
        """All the adversary holds once the sites have released, in earnest and in the two controls.

        `learnt` is what the method learnt away from the sites, if it did; what sites learnt is in their releases.
        """
        rows = self.experiment.truth(releases)
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

    def paired(self, releases: Sequence[Release]) -> Rows:
        """Places in the releases, one after the other, of films that the adversary owns and is told of: by lot."""
        owned = np.flatnonzero(~self.experiment.tested[self.experiment.truth(releases)])
        lot = stream(self.scenario.seed, "pairs").permutation(owned)
        return np.asarray(lot[: self.scenario.knowledge.pairs], dtype=np.intp)

    def _coded(self, releases: Sequence[Release], attacked: npt.NDArray[np.bool_], learnt: Release | None) -> Coded:
        """What is public of the attacked films' codes, and whatever else the threat model grants of codes."""
        method, knowledge, coded = self.scenario.method, self.scenario.knowledge, granted.coded(releases, attacked)
        assert isinstance(method, CodeMethod), "codes are released by methods that share codes"
        workshop, key_of = workshop_of(self.scenario, COORDINATOR, None), self.experiment.release_key
        if knowledge.keys:
            leaky = self.scenario.site_names[: knowledge.keys]
            keys = [key_of(release.site) if release.site in leaky else None for release in releases]
            taken = [(r, key, weights_behind(r, learnt)) for r, key in zip(releases, keys, strict=True)]
            opened, films = granted.opened(method, taken, workshop)
            coded = replace(coded, opened=opened[attacked], films=films[attacked])
        if coded.public is None:
            return coded
        truth, chosen = self.experiment.truth(releases), self.paired(releases)
        own = np.searchsorted(np.flatnonzero(~self.experiment.tested), truth[chosen])
        coded = replace(coded, pairs=granted.pairs(releases, chosen, own))
        if knowledge.releases == 1:
            return coded
        held = [
            (key_of(release.site, "again"), self.cohort.take(rows[here]), weights_behind(release, learnt))
            for release, rows, here in zip(
                releases, np.split(truth, ends(releases)), np.split(attacked, ends(releases)), strict=True
            )
        ]
        return replace(coded, again=granted.hidden_again(method, held, workshop))
