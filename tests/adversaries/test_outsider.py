"""What codes show without a key: everything if published in order, the mean film if sealed; and who is who."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from fedcxr.adversaries._outsider import Onlooker, Outsider, pictured

from fedcxr import plugins
from fedcxr.adversaries import Auxiliary, Coded, Leak
from fedcxr.adversaries.support import Support
from fedcxr.adversaries.verifier import Verifier
from fedcxr.cohort import Cohort
from fedcxr.data.phantom import Phantom
from fedcxr.errors import ConfigError, DataError
from fedcxr.methods import Workshop
from fedcxr.methods._coded import CodeMethod
from fedcxr.methods.none import Unprotected
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream
from fedcxr.training.compute import Compute

FP32 = Compute.choose("cpu", "fp32")
WORKSHOP = Workshop.on(FP32)
EVERYTHING = Support(attackers=("learned", "values", "decoded"))
SMALL = Verifier(width=4, dimensions=8, people=4, steps_clean=2, steps_retrain=2)


def ignore(stage: str, step: int, steps: int) -> None:
    pass


def method_of(name: str, **parameters: Any) -> CodeMethod:
    return cast(CodeMethod, plugins.build("method", {"name": name, **parameters}))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Phantom(patients=60, size=64, mean_visits=3).open(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def halves(cohort: Cohort) -> tuple[Cohort, Cohort]:
    """The adversary's own people, and those under attack."""
    own = np.isin(cohort.patients, np.unique(cohort.patients)[:40])
    return cohort.take(own), cohort.take(~own)


def leak_of(method: CodeMethod, halves: tuple[Cohort, Cohort]) -> tuple[Leak, np.ndarray, np.ndarray]:
    """What leaks of each attacked person's films but the first, which is known; with the truth of both sides."""
    own, attacked = halves
    people = np.unique(own.patients, return_inverse=True)[1].astype(np.int64)
    auxiliary = Auxiliary(own.films(), people, people * 0, people >= 36)
    first = np.zeros(len(attacked), dtype=bool)
    first[np.unique(attacked.patients, return_index=True)[1]] = True
    hidden = attacked.take(~first)
    release = method.release(hidden, "site-1", {}, stream(1, "release"), WORKSHOP)
    coded = Coded(release.arrays.get("codes"), np.zeros(len(hidden), dtype=np.int64), release.facts)  # type: ignore[arg-type]
    sealed = np.asarray(release.arrays["sealed"], dtype=np.uint8)
    return (
        Leak(sealed, attacked.films(first), auxiliary, method, (), coded),
        hidden.films(),
        (hidden.patients[:, None] == attacked.patients[first][None]),
    )


def auc(scores: np.ndarray, genuine: np.ndarray) -> float:
    same, other = scores[genuine][:, None], scores[~genuine][None]
    return float((same > other).mean() + (same == other).mean() / 2)


def psnr(films: np.ndarray, pictures: np.ndarray) -> float:
    return float(similarity(films, pictures)["psnr"].mean())


def test_published_codes_show_the_film_and_sealed_ones_the_mean(halves: tuple[Cohort, Cohort]) -> None:
    gains = {}
    for name, parameters in {
        "published": {"ambiguation": "published"},
        "matched": {"ambiguation": "matched"},
        "keyed": {},
    }.items():
        leak, films, _ = leak_of(method_of("sca", **parameters), halves)
        mean = np.repeat(np.round(leak.auxiliary.films.mean(axis=0)).astype(np.uint8)[None], len(films), axis=0)
        seen = pictured(leak, FP32)
        assert seen.kind == "images"
        assert seen.released.shape == films.shape
        gains[name] = psnr(films, seen.released) - psnr(films, mean)
    assert gains["published"] > 10
    assert gains["matched"] > 3
    assert -3 < gains["keyed"] < 3
    leak, films, _ = leak_of(method_of("sealed"), halves)
    assert len(np.unique(pictured(leak, FP32).released, axis=0)) == 1


@pytest.mark.parametrize("ambiguation", ["published", "gaussian", "matched", "decoy", "keyed"])
def test_an_outsider_makes_of_its_own_films_what_it_makes_of_others(
    ambiguation: str, halves: tuple[Cohort, Cohort]
) -> None:
    """However few films at once, anew each time, and as a function of the generator alone."""
    films = halves[1].films()[:3]
    outsider = Outsider(method=method_of("sca", ambiguation=ambiguation), own=halves[0].films())
    protect = outsider.fitted({}, WORKSHOP)
    first, again, other = (protect(films, stream(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == films.shape
    assert np.array_equal(first, other) == (ambiguation == "published")  # whose fakes never hide anything
    assert protect(films[:1], stream(1)).shape == films[:1].shape


def test_where_cells_share_the_usual_film_keeps_more_in_some_than_in_others(halves: tuple[Cohort, Cohort]) -> None:
    onlooker = Onlooker(method_of("sca", s=8, together=4), halves[0].films(), {}, WORKSHOP)
    kept = onlooker._usual.sum(axis=0)  # of 8 x 8 cells
    assert kept.min() < 8 < kept.max()
    assert (kept.reshape(2, 4, 2, 4).sum(axis=(1, 3)) == 8 * 16).all()


@pytest.mark.parametrize("name", ["sca", "sealed"])
def test_the_verifier_attacks_codes_as_it_attacks_films(name: str, halves: tuple[Cohort, Cohort]) -> None:
    leak, _, genuine = leak_of(method_of(name), halves)
    seen = pictured(leak, FP32)
    scores = SMALL.attack(seen, SMALL.prepare(seen.auxiliary, 1, FP32, ignore), 1, FP32, ignore)
    assert {attacker: matrix.shape for attacker, matrix in scores.items()} == dict.fromkeys(
        ("naive", "retrained"), genuine.shape
    )
    if name == "sealed":  # equal pictures: whatever is scored says nothing about the film under attack
        assert all((matrix == matrix[:1]).all() for matrix in scores.values())


def test_a_codec_that_is_not_known_shows_nothing(halves: tuple[Cohort, Cohort]) -> None:
    leak = replace(leak_of(method_of("sca"), halves)[0], mechanism=None)
    seen = pictured(leak, FP32)
    assert seen.mechanism is None
    assert not seen.released.any()
    with pytest.raises(ConfigError, match="must be granted the method"):
        Support().attack(leak, {}, 1, FP32, ignore)


def test_values_and_pictures_tell_patients_apart_where_they_are_public(halves: tuple[Cohort, Cohort]) -> None:
    found = {}
    for name, method in {
        "keyed": method_of("sca"),
        "published": method_of("sca", ambiguation="published"),
        "sealed": method_of("sealed"),
    }.items():
        leak, _, genuine = leak_of(method, halves)
        scores = EVERYTHING.attack(leak, {}, 1, FP32, ignore)
        assert all(np.isfinite(matrix).all() and matrix.dtype == np.float32 for matrix in scores.values())
        found[name] = {attacker: auc(matrix, genuine) for attacker, matrix in scores.items()}
    assert found["keyed"]["values"] > 0.55
    assert found["keyed"]["learned"] > 0.6
    assert found["published"]["learned"] > found["keyed"]["learned"] + 0.02  # in place, values show more
    assert found["published"]["decoded"] > 0.55
    assert found["sealed"]["values"] == found["sealed"]["learned"] == 0.5  # nothing to compare, and they say so


def test_support_repeats_and_reads_films_in_its_control(halves: tuple[Cohort, Cohort]) -> None:
    leak, films, genuine = leak_of(method_of("sca"), halves)
    few = EVERYTHING.model_copy(update={"own": 60})
    one, other = (few.attack(leak, {}, 1, FP32, ignore) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    raw = Leak(films, leak.known, leak.auxiliary, Unprotected())
    control = few.attack(raw, {}, 1, FP32, ignore)
    assert list(control) == ["learned", "values", "decoded"]
    assert auc(control["decoded"], genuine) > 0.55
    assert auc(control["learned"], genuine) > auc(control["decoded"], genuine) + 0.05
    assert auc(control["learned"], genuine) > auc(one["learned"], genuine) + 0.02  # where nothing is hidden


def test_people_with_one_film_each_are_no_practice(halves: tuple[Cohort, Cohort]) -> None:
    leak = leak_of(method_of("sca"), halves)[0]
    lonely = replace(leak.auxiliary, people=np.arange(len(leak.auxiliary.people)))
    with pytest.raises(DataError, match="two films or more"):
        Support().attack(replace(leak, auxiliary=lonely), {}, 1, FP32, ignore)


def test_codes_of_several_codecs_are_read_with_their_own(halves: tuple[Cohort, Cohort]) -> None:
    """Two hospitals that trained for themselves: a film read with the other's codec would come out wrong."""
    method = method_of("sca", ambiguation="published", fit="local", steps=1, refinement=4)
    films, rng = halves[1].films(), stream(1)
    learnt = tuple(method.initial(stream(seed, "initial")) for seed in (1, 2))
    assert any(not np.array_equal(learnt[0][name], learnt[1][name]) for name in learnt[0])
    own = halves[0].films()
    public = np.concatenate([Onlooker(method, own, weights, WORKSHOP).hidden(films, rng) for weights in learnt])
    versions = np.repeat([0, 1], len(films))
    auxiliary = Auxiliary(
        own, np.zeros(len(own), dtype=np.int64), np.zeros(len(own), dtype=np.int64), np.zeros(len(own), dtype=bool)
    )
    leak = Leak(np.zeros((len(public), 1), dtype=np.uint8), films, auxiliary, method, learnt, Coded(public, versions))
    seen = pictured(leak, FP32).released
    assert psnr(np.concatenate([films, films]), seen) > 20
