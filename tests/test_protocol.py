"""The experiment as pure functions: who releases what in which order, and which film is behind it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from canary import leaks as traces_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.keys import ReleaseKey
from fedcxr.keys.provider import Job
from fedcxr.learning import Learning
from fedcxr.methods import ImageMethod, Round, RunContext, SharesFilms, Weights
from fedcxr.methods.none import Unprotected
from fedcxr.protocol import release_order, site_step
from fedcxr.release import AnswerKey, Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.keys import Simulated, simulated
from fedcxr.simulation.threat import Threat
from fedcxr.view import Shared

MakeScenario = Callable[..., Scenario]
MakeCohort = Callable[..., Cohort]
Consortium = Callable[..., tuple[Experiment, Shared]]

CANARY = "Zaphod-Beeblebrox-"
FILMS_OF = (3, 1, 4, 2, 5, 3, 2, 1, 6, 1) * 4


@pytest.fixture(scope="module")
def consortium(make_scenario: MakeScenario, make_cohort: MakeCohort) -> Consortium:
    """A whole simulated consortium that has released."""

    def make(films_of: tuple[int, ...] = FILMS_OF, **document: Any) -> tuple[Experiment, Shared]:
        experiment = Experiment.of(make_scenario(**document), make_cohort(films_of, prefix=CANARY))
        releases = [
            site_step(experiment.scenario, s, experiment.site(s), simulated(experiment.scenario, s))
            for s in experiment.dealt
        ]
        return experiment, Shared(releases)

    return make


def bytes_of(films: np.ndarray) -> set[bytes]:
    return {film.tobytes() for film in films}


# What a site does -----------------------------------------------------------------------------------------------------


def test_a_site_releases_the_same_again_whatever_else_draws_numbers(consortium: Consortium) -> None:
    experiment, shared = consortium(method="noise")
    random.seed(1)
    np.random.seed(1)
    before = repr(random.getstate()), repr(np.random.get_state())
    # In another order, and site-2 twice.
    for site in ("site-3", "site-2", "site-1", "site-2"):
        again = site_step(experiment.scenario, site, experiment.site(site), simulated(experiment.scenario, site))
        assert again.digest() == next(r for r in shared.releases if r.site == site).digest()
    assert (repr(random.getstate()), repr(np.random.get_state())) == before


def test_the_seed_and_the_site_matter(consortium: Consortium, make_cohort: MakeCohort) -> None:
    experiment, _ = consortium(method="noise")
    same = make_cohort((2,) * 6)
    drawn = {
        (site, seed): site_step(experiment.scenario, site, same, Simulated(seed, site, {})).arrays["films"].tobytes()
        for site in ("site-1", "site-2")
        for seed in (0, 1)
    }
    assert len(set(drawn.values())) == 4


def test_the_cohort_is_not_modified(consortium: Consortium, make_cohort: MakeCohort) -> None:
    experiment, _ = consortium(method="noise")
    untouched = make_cohort(FILMS_OF, prefix=CANARY)
    np.testing.assert_array_equal(experiment.cohort.pixels, untouched.pixels)
    assert experiment.cohort.index.equals(untouched.index)


def test_neighbours_in_a_release_are_not_films_of_one_patient(consortium: Consortium) -> None:
    """In the hospital's table the films of a patient stand side by side; in its release they lie anywhere."""
    experiment, shared = consortium((4,) * 150)
    for release in shared.releases:
        patients = experiment.cohort.patients[experiment.truth(Shared([release]))]
        neighbours = float((patients[1:] == patients[:-1]).mean())
        in_table = experiment.site(release.site).patients
        assert (in_table[1:] == in_table[:-1]).mean() > 0.7
        assert neighbours < 0.06  # by chance 3 of 199; a table would have 3 of 4


def test_release_order_is_a_permutation_of_its_own_per_site() -> None:
    orders = [release_order(site, 50, seed) for site in ("site-1", "site-2") for seed in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 4
    assert release_order("site-1", 0, 0).tolist() == []


class Faulty(SharesFilms):
    """Releases fewer films than it was given, or in another's name."""

    fault: str = "site"

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        kept = cohort.take(np.arange(len(cohort) - (self.fault == "films")))
        return Release(
            "images",
            "site-9" if self.fault == "site" else keys.origin.site,
            "faulty",
            {
                "films": kept.films(),
                "findings": kept.labels,
                "split": np.zeros(len(kept), dtype=np.int8),
            },
            {"findings": list(kept.findings)},
        )


@pytest.mark.parametrize("fault", ["site", "films"])
def test_a_method_that_releases_the_wrong_films_is_stopped(consortium: Consortium, fault: str) -> None:
    experiment, _ = consortium()
    scenario = experiment.scenario.model_copy(update={"method": Faulty(fault=fault)})
    with pytest.raises(DataError, match="released the wrong films"):
        site_step(scenario, "site-1", experiment.site("site-1"), Simulated(0, "site-1", {}))


class Scribbler(ImageMethod):
    """Writes into the films it was given."""

    def protect(self, films: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        films[:] = 0
        return films


def test_a_method_that_writes_into_the_hospitals_films_is_stopped(consortium: Consortium) -> None:
    experiment, _ = consortium()
    scribbling = experiment.scenario.model_copy(update={"method": Scribbler()})
    with pytest.raises(ValueError, match="read-only"):
        site_step(scribbling, "site-1", experiment.site("site-1"), Simulated(0, "site-1", {}))


class FitSpy(Unprotected):
    """Remembers which films it learnt from."""

    learnt_from: ClassVar[list[set[str]]] = []

    @property
    def learning(self) -> Learning:
        return Learning()

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008
    ) -> Weights:
        self.learnt_from.append(set(cohort.index["split"]))
        return {}


def test_a_method_learns_from_training_films_only(consortium: Consortium) -> None:
    experiment, _ = consortium()
    FitSpy.learnt_from.clear()
    site_step(
        experiment.scenario.model_copy(update={"method": FitSpy()}),
        "site-1",
        experiment.site("site-1"),
        Simulated(0, "site-1", {}),
    )
    assert FitSpy.learnt_from == [{"train"}]


# Truth ----------------------------------------------------------------------------------------------------------------


def test_truth_joins_back_to_the_very_films(consortium: Consortium) -> None:
    experiment, shared = consortium(method="none")
    rows = experiment.truth(shared)
    released = np.concatenate([r.arrays["films"] for r in shared.releases])
    np.testing.assert_array_equal(released, experiment.cohort.films(rows))
    assert sorted(rows) == list(range(len(experiment.cohort)))
    labels = np.concatenate([r.arrays["findings"] for r in shared.releases])
    np.testing.assert_array_equal(labels, experiment.cohort.labels[rows])


def test_truth_of_some_sites_in_any_order(consortium: Consortium) -> None:
    experiment, shared = consortium(method="none")
    some = [shared.releases[2], shared.releases[0]]
    np.testing.assert_array_equal(
        np.concatenate([r.arrays["films"] for r in some]), experiment.cohort.films(experiment.truth(Shared(some)))
    )


def test_answers_name_the_owner_of_every_released_film(consortium: Consortium) -> None:
    experiment, shared = consortium(method="none")
    by_site = {r.site: r for r in shared.releases}
    owner = {film.tobytes(): p for film, p in zip(experiment.cohort.films(), experiment.cohort.patients, strict=True)}
    attacked = stream(1).random(len(experiment.cohort)) < 0.3
    table = Threat(experiment).answers(shared, attacked).table
    assert len(table) == len(experiment.cohort)
    for row in table.to_dict("records"):
        assert owner[by_site[row["site"]].arrays["films"][row["row"]].tobytes()] == row["patient"]
        assert experiment.cohort.index["source"].iloc[row["film"]] == row["source"]
        assert row["attacked"] == attacked[row["film"]]


@pytest.mark.parametrize("method", ["none", "noise", {"name": "sca", "findings": "clear"}], ids=str)
def test_films_in_the_order_of_another_seed_are_not_joined(consortium: Consortium, method: Any) -> None:
    """A site that takes its order from another seed releases films whose places mean others."""
    experiment, shared = consortium(method=method)
    scenario, site = experiment.scenario, "site-2"
    other = site_step(scenario, site, experiment.site(site), Simulated(scenario.seed + 1, site, scenario.grant))
    honest = next(r for r in shared.releases if r.site == site)
    same, others = (np.asarray(release.arrays["findings"]) for release in (honest, other))
    np.testing.assert_array_equal(same[np.lexsort(same.T)], others[np.lexsort(others.T)])
    wrong = Shared([*(r for r in shared.releases if r.site != site), other])
    threat = Threat(experiment)
    everybody = np.ones(len(experiment.cohort), dtype=np.bool_)
    for join in (experiment.truth, experiment.evidence, threat.put, lambda one: threat.answers(one, everybody)):
        with pytest.raises(DataError, match=r"behind the release of site-2 cannot be told.*another order"):
            join(wrong)


@settings(max_examples=50)
@given(data=st.data())
def test_moved_rows_are_refused_unless_they_tell_where_from(consortium: Consortium, data: st.DataObject) -> None:
    experiment, shared = consortium((2,) * 10, method="none")
    honest = shared.releases[0]
    order = np.array(data.draw(st.permutations(range(len(honest)))), dtype=np.intp)
    moved = replace(honest, arrays={name: array[order] for name, array in honest.arrays.items()})
    if all(np.array_equal(moved.arrays[name], honest.arrays[name]) for name in ("findings", "split")):
        experiment.truth(Shared([moved]))  # nobody could tell
    else:
        with pytest.raises(DataError, match="cannot be told"):
            experiment.truth(Shared([moved]))
    told = replace(moved, facts={**moved.facts, "origins": order.tolist()})
    films = experiment.truth(Shared([told]))
    np.testing.assert_array_equal(experiment.cohort.films(films), told.arrays["films"])


def test_a_finding_may_be_withheld_but_not_changed(consortium: Consortium) -> None:
    experiment, shared = consortium(method="none")
    honest = shared.releases[0]

    def told(value: float) -> Shared:
        findings = np.array(honest.arrays["findings"])
        findings[2, 3] = value
        return Shared([replace(honest, arrays={**honest.arrays, "findings": findings})])

    np.testing.assert_array_equal(experiment.truth(told(np.nan)), experiment.truth(Shared([honest])))
    with pytest.raises(DataError, match="cannot be told"):
        experiment.truth(told(1 - honest.arrays["findings"][2, 3]))


class Invented(Unprotected):
    """Its films are of nobody in particular; or, of some sites, one film in three is."""

    partly: bool = False

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        rows = np.arange(0, len(cohort), 2)
        made = super().release(cohort.take(rows), keys, weights, rng, context)
        origins = np.where(np.arange(len(rows)) % 3 == 0, -1, rows).tolist()
        return replace(made, facts={**made.facts, "origins": origins if self.partly else "nobody"})


def test_rows_of_nobody_join_no_film_and_no_patient(consortium: Consortium, tmp_path: Path) -> None:
    experiment, shared = consortium(method={"name": f"{Invented.__module__}:Invented"})
    everybody = np.ones(len(experiment.cohort), dtype=np.bool_)
    assert set(experiment.truth(shared)) == {-1}
    answers = Threat(experiment).answers(shared, everybody)
    answers.save(tmp_path)
    for table in (answers.table, AnswerKey.load(tmp_path).table):
        assert len(table) == len(shared)
        assert set(table["film"]) == {-1}
        assert set(table["patient"]) == set(table["source"]) == {""}
        assert not table["attacked"].any()
    evidence = experiment.evidence(shared)
    assert set(evidence.origin) == {-1}
    assert len(set(evidence.patients)) == len(shared)
    assert not set(evidence.patients) & set(experiment.cohort.patients)
    assert len(evidence.cohort) == len(experiment.cohort)  # hospitals' own films are there to be tested on
    assert not experiment.world(shared).rows_of(everybody).any()
    assert len(experiment.world(shared).unprotected().view()) == 0
    # Nobody is attacked, so nothing is asked.
    assert Threat(experiment).put(shared) == {"linkage": {}}


def test_rows_of_nobody_among_others(consortium: Consortium) -> None:
    experiment, shared = consortium(method={"name": f"{Invented.__module__}:Invented", "partly": True})
    films, released = experiment.truth(shared), shared.array("films")
    assert released is not None
    real = films >= 0
    assert 0 < real.sum() < len(films)
    np.testing.assert_array_equal(released[real], experiment.cohort.films(films[real]))
    everybody = np.ones(len(experiment.cohort), dtype=np.bool_)
    table = Threat(experiment).answers(shared, everybody).table
    np.testing.assert_array_equal(table["attacked"], real)
    np.testing.assert_array_equal(table["patient"][real], experiment.cohort.patients[films[real]])
    assert set(table["patient"][~real]) == {""}
    for where, put in Threat(experiment).put(shared)["linkage"].items():
        tested = put.roles.attacked[films] & real
        assert len(put.leak.view) == tested.sum(), where
        assert put.asked.key.patients.shape == (tested.sum(),)


def test_evidence_puts_originals_beside_releases(consortium: Consortium) -> None:
    experiment, shared = consortium(method="none")
    evidence = experiment.evidence(shared)
    np.testing.assert_array_equal(evidence.view.forms["films"], evidence.clean[evidence.origin])
    noisy, released = consortium(method={"name": "noise", "scale": 0.02})
    evidence = noisy.evidence(released)
    difference = evidence.view.forms["films"].astype(int) - evidence.clean[evidence.origin]
    assert 0 < abs(difference).mean() < 10
    index = noisy.cohort.index.iloc[noisy.truth(released)]
    assert [("train", "val", "test")[s] for s in evidence.split] == index["split"].tolist()
    assert evidence.patients.tolist() == index["patient"].tolist()


@pytest.mark.parametrize("method", ["none", "noise"])
def test_a_patients_name_never_leaves(consortium: Consortium, method: str) -> None:
    _, shared = consortium(method=method)
    for release in shared.releases:
        raw = release.to_bytes() + b"".join(a.tobytes() for a in release.arrays.values())
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert CANARY.encode(encoding) not in raw


# Codes ----------------------------------------------------------------------------------------------------------------

CODES = pytest.mark.parametrize(
    "method", ["sca", "sealed", {"name": "sca", "fit": "local", "steps": 2, "refinement": 4, "crop": 16}], ids=str
)


def in_codes(shared: Shared) -> bytes:
    return b"".join(array.tobytes() for release in shared.releases for array in release.arrays.values())


@CODES
def test_evidence_of_codes_is_what_the_keys_holder_sees(consortium: Consortium, method: Any) -> None:
    experiment, shared = consortium(method=method)
    evidence = experiment.evidence(shared)
    seen, clean = evidence.view.forms["films"], evidence.clean[evidence.origin]
    assert seen.shape == clean.shape
    assert not np.array_equal(seen, clean)
    # Films of noise keep no more than their eight strongest numbers, but these are of the film in the same row.
    flat = [np.asarray(films, dtype=float).reshape(len(films), -1) for films in (seen, clean)]
    alike = np.corrcoef(flat[0], flat[1])[: len(flat[0]), len(flat[0]) :]
    assert (alike.argmax(axis=1) == np.arange(len(alike))).all()


@CODES
def test_codes_leak_no_film_and_no_key(consortium: Consortium, method: Any) -> None:
    experiment, shared = consortium(method=method)
    put = Threat(experiment).put(shared)["linkage"]
    rows = experiment.world(shared).rows_of(put["protected"].roles.attacked)
    evidence, scenario = experiment.evidence(shared), experiment.scenario
    originals = evidence.clean[evidence.origin[rows]]
    secret = bytes_of(originals) | bytes_of(np.asarray(evidence.view.forms["films"][rows]))
    sites = [Simulated(scenario.seed, site, {}) for site in experiment.dealt]
    keys = [site.begin(Job("release", scenario.run_name), ()) for site in sites]
    for release, key in zip(shared.releases, keys, strict=True):  # the control: these are the keys of these releases
        assert scenario.method.opens(release, 0, key.image_key("0"))
    secrets = [key.reveal() for key in (*keys, *(site._ring.epochs[0].key for site in sites))]
    assert not traces_of(secrets, in_codes(shared))
    for name in ("protected", "control_shuffled"):
        leak = put[name].leak
        assert set(leak.view.forms) == {"sealed", *({"codes"} & shared.releases[0].arrays.keys())}
        assert len(leak.view) == rows.sum()
        arrays = [*leak.view.forms.values(), *(a for one in leak.holdings.values() for a in one.arrays.values())]
        held = b"".join(array.tobytes() for array in arrays)
        assert not any(film in held for film in secret)
        assert not traces_of(secrets, held, repr([one.facts for one in leak.holdings.values()]))
        assert set(leak.view.versions) == set(range(len(leak.taught)))
    raw = put["control_raw"].leak.view
    assert set(raw.forms) == {"films"}
    films, opened = np.split(np.asarray(raw.forms["films"]), 2)
    assert bytes_of(films) == bytes_of(originals)
    assert bytes_of(opened) == bytes_of(np.asarray(evidence.view.forms["films"][rows]))
