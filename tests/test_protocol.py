"""The experiment as pure functions: who releases what in which order, and what the adversary does not get."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from canary import leaks as traces_of
from fedcxr.adversaries._outsider import pictured

from fedcxr.cohort import Cohort
from fedcxr.errors import DataError
from fedcxr.learning import Learning
from fedcxr.methods import ImageMethod, Method, Round, Weights, Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.sca import Sca
from fedcxr.protocol import attack_seed, release_order, site_step
from fedcxr.release import Kind, Release
from fedcxr.rng import stream
from fedcxr.scenario import Scenario
from fedcxr.simulation.custody import Simulated, simulated
from fedcxr.simulation.experiment import Experiment
from fedcxr.simulation.threat import Threat
from fedcxr.training.compute import Compute

MakeScenario = Callable[..., Scenario]
MakeCohort = Callable[..., Cohort]
World = Callable[..., tuple[Experiment, list[Release]]]

CANARY = "Zaphod-Beeblebrox-"
FILMS_OF = (3, 1, 4, 2, 5, 3, 2, 1, 6, 1) * 4


@pytest.fixture(scope="module")
def world(make_scenario: MakeScenario, make_cohort: MakeCohort) -> World:
    """A whole simulated consortium that has released."""

    def make(films_of: tuple[int, ...] = FILMS_OF, **document: Any) -> tuple[Experiment, list[Release]]:
        experiment = Experiment.of(make_scenario(**document), make_cohort(films_of, prefix=CANARY))
        releases = [
            site_step(experiment.scenario, s, experiment.site(s), simulated(experiment.scenario, s))
            for s in experiment.dealt
        ]
        return experiment, releases

    return make


def bytes_of(films: np.ndarray) -> set[bytes]:
    return {film.tobytes() for film in films}


# What a site does -----------------------------------------------------------------------------------------------------


def test_a_site_releases_the_same_again_whatever_else_draws_numbers(world: World) -> None:
    experiment, releases = world(method="noise")
    random.seed(1)
    np.random.seed(1)
    before = repr(random.getstate()), repr(np.random.get_state())
    # In another order, and site-2 twice.
    for site in ("site-3", "site-2", "site-1", "site-2"):
        again = site_step(experiment.scenario, site, experiment.site(site), simulated(experiment.scenario, site))
        assert again.digest() == next(r for r in releases if r.site == site).digest()
    assert (repr(random.getstate()), repr(np.random.get_state())) == before


def test_the_seed_and_the_site_matter(world: World, make_cohort: MakeCohort) -> None:
    experiment, _ = world(method="noise")
    same = make_cohort((2,) * 6)
    drawn = {
        (site, seed): site_step(experiment.scenario, site, same, Simulated(seed, site, {})).arrays["films"].tobytes()
        for site in ("site-1", "site-2")
        for seed in (0, 1)
    }
    assert len(set(drawn.values())) == 4


def test_the_cohort_is_not_modified(world: World, make_cohort: MakeCohort) -> None:
    experiment, _ = world(method="noise")
    untouched = make_cohort(FILMS_OF, prefix=CANARY)
    np.testing.assert_array_equal(experiment.cohort.pixels, untouched.pixels)
    assert experiment.cohort.index.equals(untouched.index)


def test_neighbours_in_a_release_are_not_films_of_one_patient(world: World) -> None:
    """In the hospital's table the films of a patient stand side by side; in its release they lie anywhere."""
    experiment, releases = world((4,) * 150)
    for release in releases:
        patients = experiment.cohort.patients[experiment.truth([release])]
        neighbours = float((patients[1:] == patients[:-1]).mean())
        in_table = experiment.site(release.site).patients
        assert (in_table[1:] == in_table[:-1]).mean() > 0.7
        assert neighbours < 0.06  # by chance 3 of 199; a table would have 3 of 4


def test_release_order_is_a_permutation_of_its_own_per_site() -> None:
    orders = [release_order(site, 50, seed) for site in ("site-1", "site-2") for seed in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 4
    assert release_order("site-1", 0, 0).tolist() == []


class Faulty(Method):
    """Releases fewer films than it was given, or in another's name."""

    kind: ClassVar[Kind] = "images"
    fault: str = "site"

    def release(
        self, cohort: Cohort, site: str, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        kept = cohort.take(np.arange(len(cohort) - (self.fault == "films")))
        return Release(
            "images",
            "site-9" if self.fault == "site" else site,
            "faulty",
            {
                "films": kept.films(),
                "findings": kept.labels,
                "split": np.zeros(len(kept), dtype=np.int8),
            },
            {"findings": list(kept.findings)},
        )


@pytest.mark.parametrize("fault", ["site", "films"])
def test_a_method_that_releases_the_wrong_films_is_stopped(world: World, fault: str) -> None:
    experiment, _ = world()
    scenario = experiment.scenario.model_copy(update={"method": Faulty(fault=fault)})
    with pytest.raises(DataError, match="released the wrong films"):
        site_step(scenario, "site-1", experiment.site("site-1"), Simulated(0, "site-1", {}))


class Scribbler(ImageMethod):
    """Writes into the films it was given."""

    def protect(self, films: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        films[:] = 0
        return films


def test_a_method_that_writes_into_the_hospitals_films_is_stopped(world: World) -> None:
    experiment, _ = world()
    scribbling = experiment.scenario.model_copy(update={"method": Scribbler()})
    with pytest.raises(ValueError, match="read-only"):
        site_step(scribbling, "site-1", experiment.site("site-1"), Simulated(0, "site-1", {}))


class FitSpy(Method):
    """Remembers which films it learnt from."""

    kind: ClassVar[Kind] = "update"
    learnt_from: ClassVar[list[set[str]]] = []

    @property
    def learning(self) -> Learning:
        return Learning()

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        workshop: Workshop,
        start: Weights | None = None,
        turn: Round = Round(),  # noqa: B008
    ) -> Weights:
        self.learnt_from.append(set(cohort.index["split"]))
        return {}

    def release(
        self, cohort: Cohort, site: str, weights: Weights, rng: np.random.Generator, workshop: Workshop
    ) -> Release:
        return Release("update", site, "spy", {})


def test_a_method_learns_from_training_films_only(world: World) -> None:
    experiment, _ = world()
    FitSpy.learnt_from.clear()
    site_step(
        experiment.scenario.model_copy(update={"method": FitSpy()}),
        "site-1",
        experiment.site("site-1"),
        Simulated(0, "site-1", {}),
    )
    assert FitSpy.learnt_from == [{"train"}]


# Truth ----------------------------------------------------------------------------------------------------------------


def test_truth_joins_back_to_the_very_films(world: World) -> None:
    experiment, releases = world(method="none")
    rows = experiment.truth(releases)
    released = np.concatenate([r.arrays["films"] for r in releases])
    np.testing.assert_array_equal(released, experiment.cohort.films(rows))
    assert sorted(rows) == list(range(len(experiment.cohort)))
    labels = np.concatenate([r.arrays["findings"] for r in releases])
    np.testing.assert_array_equal(labels, experiment.cohort.labels[rows])


def test_truth_of_some_sites_in_any_order(world: World) -> None:
    experiment, releases = world(method="none")
    some = [releases[2], releases[0]]
    np.testing.assert_array_equal(
        np.concatenate([r.arrays["films"] for r in some]), experiment.cohort.films(experiment.truth(some))
    )


def test_answers_name_the_owner_of_every_released_film(world: World) -> None:
    experiment, releases = world(method="none")
    by_site = {r.site: r for r in releases}
    owner = {film.tobytes(): p for film, p in zip(experiment.cohort.films(), experiment.cohort.patients, strict=True)}
    table = Threat(experiment).answers(releases).table
    assert len(table) == len(experiment.cohort)
    for row in table.to_dict("records"):
        assert owner[by_site[row["site"]].arrays["films"][row["row"]].tobytes()] == row["patient"]
        assert experiment.cohort.index["source"].iloc[row["film"]] == row["source"]


def test_evidence_puts_originals_beside_releases(world: World) -> None:
    experiment, releases = world(method="none")
    evidence = experiment.evidence(releases)
    np.testing.assert_array_equal(evidence.released, evidence.clean)
    noisy, released = world(method={"name": "noise", "scale": 0.02})
    evidence = noisy.evidence(released)
    difference = evidence.released.astype(int) - evidence.clean
    assert 0 < abs(difference).mean() < 10
    index = noisy.cohort.index.iloc[noisy.truth(released)]
    assert [("train", "val", "test")[s] for s in evidence.split] == index["split"].tolist()
    assert evidence.patients.tolist() == index["patient"].tolist()


# What the adversary holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_known_films_are_some_of_each_attacked_patients_and_never_all(world: World, share: float) -> None:
    experiment, _ = world(knowledge={"known_films": share})
    known = Threat(experiment).known_rows()
    assert len(set(known)) == len(known)
    index = experiment.cohort.index
    assert set(index["split"].iloc[known]) == {"test"}
    films = index[index["split"] == "test"].groupby("patient").size()
    owned = index.iloc[known].groupby("patient").size().reindex(films.index, fill_value=0)
    for patient, n in zip(films.index.astype(str), films, strict=True):
        assert owned.loc[patient] == (0 if n == 1 else min(max(round(share * n), 1), n - 1))
    assert (owned == 0).any()  # somebody with a single film: attacked, but in nobody's album


def test_which_films_are_known_does_not_depend_on_other_patients(world: World) -> None:
    many, _ = world((3,) * 40)
    few, _ = world((3,) * 20)
    known = set(many.cohort.index["image"].iloc[Threat(many).known_rows()])
    for image in few.cohort.index["image"].iloc[Threat(few).known_rows()]:
        assert image in known


def test_attacked_are_films_of_the_test_split_that_are_not_known(world: World) -> None:
    experiment, releases = world()
    table = Threat(experiment).answers(releases).table
    attacked = set(table["film"][table["attacked"]])
    test = set(np.flatnonzero(experiment.cohort.index["split"] == "test"))
    known = set(Threat(experiment).known_rows())
    assert attacked == test - known
    assert attacked
    assert known


def test_nobody_has_two_films(world: World) -> None:
    experiment, releases = world((1,) * 20)
    with pytest.raises(DataError, match="nobody can be re-identified"):
        Threat(experiment).leaks(releases)


@pytest.mark.parametrize("method", ["noise", "none"])
def test_no_original_of_an_attacked_film_leaks(world: World, method: str) -> None:
    experiment, releases = world(method=method)
    table = Threat(experiment).answers(releases).table
    originals = bytes_of(experiment.cohort.films(table["film"][table["attacked"]].to_numpy()))
    leaks = Threat(experiment).leaks(releases)
    for name in ("protected", "control_shuffled"):
        leak = leaks[name]
        assert not originals & bytes_of(leak.known)
        assert not originals & bytes_of(leak.auxiliary.films)
        # Only what was released unprotected by the hospital itself is an original.
        assert (originals & bytes_of(leak.released) == originals) == (method == "none")
        assert not originals & bytes_of(leak.released) or method == "none"
    assert bytes_of(leaks["control_raw"].released) == originals


def test_leaked_films_are_the_released_bytes_in_the_order_of_the_answers(world: World) -> None:
    experiment, releases = world(method="noise")
    table = Threat(experiment).answers(releases).table
    released = np.concatenate([r.arrays["films"] for r in releases])[table["attacked"].to_numpy()]
    leaks = Threat(experiment).leaks(releases)
    np.testing.assert_array_equal(leaks["protected"].released, released)
    np.testing.assert_array_equal(leaks["control_shuffled"].released, released)
    rows = table["film"][table["attacked"]].to_numpy()
    np.testing.assert_array_equal(leaks["control_raw"].released, experiment.cohort.films(rows))
    for leak in leaks.values():
        np.testing.assert_array_equal(leak.known, experiment.cohort.films(Threat(experiment).known_rows()))


def test_the_adversarys_own_films_are_of_people_it_does_not_attack(world: World) -> None:
    experiment, _ = world()
    mine = Threat(experiment).auxiliary()["protected"]
    owner = {film.tobytes(): p for film, p in zip(experiment.cohort.films(), experiment.cohort.patients, strict=True)}
    patients = [owner[film.tobytes()] for film in mine.films]
    index = experiment.cohort.index
    assert not set(patients) & set(index["patient"][index["split"] == "test"])
    assert len(mine.films) == int((index["split"] != "test").sum())
    # The numbers tell people apart as the names do, and tell nothing else.
    assert len(set(zip(patients, mine.people.tolist(), strict=True))) == len(set(patients)) == len(set(mine.people))
    split = dict(zip(index["patient"], index["split"], strict=True))
    assert [split[p] == "val" for p in patients] == mine.held_out.tolist()
    source = dict(zip(index["patient"], index["source"], strict=True))
    assert len({(source[p], s) for p, s in zip(patients, mine.sources.tolist(), strict=True)}) == 3


def test_shuffling_permutes_identities_and_nothing_else(world: World) -> None:
    experiment, releases = world(method="noise")
    leaks = Threat(experiment).leaks(releases)
    earnest, shuffled = leaks["protected"], leaks["control_shuffled"]
    films_each = [sorted(np.bincount(leak.auxiliary.people)) for leak in (earnest, shuffled)]
    assert films_each[0] == films_each[1]
    assert (shuffled.auxiliary.people != earnest.auxiliary.people).mean() > 0.8
    for name in ("films", "sources", "held_out"):
        np.testing.assert_array_equal(getattr(shuffled.auxiliary, name), getattr(earnest.auxiliary, name))
    np.testing.assert_array_equal(shuffled.released, earnest.released)
    np.testing.assert_array_equal(shuffled.known, earnest.known)
    assert shuffled.mechanism == earnest.mechanism
    np.testing.assert_array_equal(leaks["control_raw"].auxiliary.people, earnest.auxiliary.people)


@pytest.mark.parametrize("ambiguation", ["keyed", "matched"])
def test_another_release_and_pairs_are_granted_as_the_scenario_says(world: World, ambiguation: str) -> None:
    method = {"name": "sca", "ambiguation": ambiguation}
    experiment, releases = world(method=method, knowledge={"releases": 2, "pairs": 7})
    coded = Threat(experiment).leaks(releases)["protected"].coded
    assert coded is not None
    assert coded.public is not None
    assert coded.again is not None
    assert coded.pairs is not None
    assert coded.again.shape == coded.public.shape
    assert (coded.again != coded.public).any(axis=(1, 2, 3)).all()  # under other keys
    # What is granted twice are the very films: as many values of each size as the film needs are in both.
    films = Threat(experiment).answers(releases).table.query("attacked")["film"].to_numpy()
    codes = Sca().codec({}, Workshop("cpu", "fp32")).encode(experiment.cohort.films(films))
    for public, again, code in zip(coded.public, coded.again, codes, strict=True):
        needed, *shown = (np.bincount(np.abs(c.ravel().astype(int)), minlength=128)[1:] for c in (code, public, again))
        assert all((counts >= needed).all() for counts in shown)
    # Pairs are films of the adversary's own, never one that is attacked.
    patients = experiment.cohort.patients[Threat(experiment).answers(releases).table["film"].to_numpy()]
    index = experiment.cohort.index
    tested = set(index["patient"][index["split"] == "test"])
    assert len(coded.pairs.films) == 7
    assert not tested & set(patients[Threat(experiment).paired(releases)])
    owned = experiment.cohort.take(index["split"].to_numpy() != "test")
    assert [*owned.patients[coded.pairs.films]] == [*patients[Threat(experiment).paired(releases)]]


@pytest.mark.parametrize("method", ["sca", "sealed"])
def test_leaked_keys_open_the_films_of_their_sites_and_no_others(world: World, method: str) -> None:
    experiment, releases = world(method=method, knowledge={"keys": 1, "releases": 1, "pairs": 0})
    table, leaks = Threat(experiment).answers(releases).table.query("attacked"), Threat(experiment).leaks(releases)
    own = (table["site"] == "site-1").to_numpy()
    assert own.any()
    assert not own.all()
    coder = Sca().codec({}, Workshop("cpu", "fp32"))
    films = coder.decode(coder.encode(experiment.cohort.films(table["film"].to_numpy())), experiment.cohort.size)
    seen = pictured(leaks["protected"], Compute.choose("cpu", "fp32")).released
    for name in ("protected", "control_shuffled"):
        coded = leaks[name].coded
        assert coded is not None
        assert coded.opened is not None
        assert coded.films is not None
        np.testing.assert_array_equal(coded.opened, own)
        np.testing.assert_array_equal(coded.films[own], films[own])
        assert not coded.films[~own].any()
    np.testing.assert_array_equal(seen[own], films[own])
    assert not any(np.array_equal(a, b) for a, b in zip(seen[~own], films[~own], strict=True))


def test_nothing_is_granted_of_codes_unless_the_scenario_says_so(world: World) -> None:
    experiment, releases = world(method="sca", knowledge={"known_films": 0.5, "releases": 1, "pairs": 0})
    coded = Threat(experiment).leaks(releases)["protected"].coded
    assert coded is not None
    assert coded.again is None
    assert coded.pairs is None
    assert coded.opened is None
    assert coded.films is None


@pytest.mark.parametrize("granted", [True, False])
def test_the_mechanism_is_known_only_if_granted(world: World, granted: bool) -> None:
    experiment, releases = world(method="noise", knowledge={"mechanism": granted})
    leaks = Threat(experiment).leaks(releases)
    assert leaks["protected"].mechanism == (experiment.scenario.method if granted else None)


def test_noise_cannot_be_subtracted_with_what_the_adversary_knows(world: World) -> None:
    experiment, releases = world(method="noise")
    seed = attack_seed(experiment.scenario, "verifier")
    assert seed != experiment.scenario.seed
    release = releases[0]
    for guess in (seed, seed >> 1, seed & 0x7FFFFFFF):
        films = experiment.site(release.site).take(release_order(release.site, len(release), guess)).films()
        drawn = experiment.scenario.method.protect(films, stream(guess, "site", release.site, "release"))  # type: ignore[attr-defined]
        assert not bytes_of(drawn) & bytes_of(np.asarray(release.arrays["films"]))


def test_attack_seeds_differ(make_scenario: MakeScenario) -> None:
    seeds = {attack_seed(make_scenario(seed=seed), name) for seed in (0, 1) for name in ("verifier", "retrieval")}
    assert len(seeds) == 4


@pytest.mark.parametrize("method", ["none", "noise"])
def test_a_patients_name_never_leaves(world: World, method: str) -> None:
    _, releases = world(method=method)
    for release in releases:
        raw = release.to_bytes() + b"".join(a.tobytes() for a in release.arrays.values())
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert CANARY.encode(encoding) not in raw


def test_leaks_hold_no_names(world: World) -> None:
    experiment, releases = world(method="noise")
    for leak in Threat(experiment).leaks(releases).values():
        arrays: Mapping[str, Any] = {**vars(leak.auxiliary), "released": leak.released, "known": leak.known}
        assert {a.dtype.kind for a in arrays.values()} <= {"u", "i", "b"}


# Codes ----------------------------------------------------------------------------------------------------------------

CODES = pytest.mark.parametrize(
    "method", ["sca", "sealed", {"name": "sca", "fit": "local", "steps": 2, "refinement": 4, "crop": 16}], ids=str
)


def in_codes(releases: list[Release]) -> bytes:
    return b"".join(array.tobytes() for release in releases for array in release.arrays.values())


@CODES
def test_evidence_of_codes_is_what_the_keys_holder_sees(world: World, method: Any) -> None:
    experiment, releases = world(method=method)
    evidence = experiment.evidence(releases)
    assert evidence.released.shape == evidence.clean.shape
    assert not np.array_equal(evidence.released, evidence.clean)
    # Films of noise keep no more than their eight strongest numbers, but these are of the film in the same row.
    flat = [np.asarray(films, dtype=float).reshape(len(films), -1) for films in (evidence.released, evidence.clean)]
    alike = np.corrcoef(flat[0], flat[1])[: len(flat[0]), len(flat[0]) :]
    assert (alike.argmax(axis=1) == np.arange(len(alike))).all()


@CODES
def test_codes_leak_no_film_and_no_key(world: World, method: Any) -> None:
    experiment, releases = world(method=method)
    table = Threat(experiment).answers(releases).table
    rows = table["attacked"].to_numpy()
    evidence, leaks = experiment.evidence(releases), Threat(experiment).leaks(releases)
    secret = bytes_of(evidence.clean[rows]) | bytes_of(evidence.released[rows])
    scenario = experiment.scenario
    sites = [Simulated(scenario.seed, site, {}) for site in experiment.dealt]
    keys = [site.begin(scenario.run_name, ()) for site in sites]
    assert isinstance(scenario.method, CodeMethod)
    for release, key in zip(releases, keys, strict=True):  # the control: these are the keys of these releases
        scenario.method.find(release, 0, key.image_key("0"))
    secrets = [key.reveal() for key in (*keys, *(site._ring.epochs[0].key for site in sites))]
    assert not traces_of(secrets, in_codes(releases))
    for name in ("protected", "control_shuffled"):
        leak = leaks[name]
        assert leak.coded is not None
        assert leak.kind == "codes"
        assert len(leak.released) == len(leak.coded.versions) == rows.sum()
        held = b"".join(a.tobytes() for a in (leak.released, leak.known, leak.auxiliary.films, *_public(leak)))
        assert not any(film in held for film in secret)
        assert not traces_of(secrets, held, repr(leak.coded.facts))
        assert set(leak.coded.versions) == set(range(max(len(leak.learnt), 1)))
    assert leaks["control_raw"].kind == "images"
    assert bytes_of(leaks["control_raw"].released) == bytes_of(evidence.clean[rows])


def _public(leak: Any) -> list[np.ndarray]:
    return [] if leak.coded.public is None else [leak.coded.public]
