"""Sparse codes as a release: the key's holder sees the films, nobody else does, and training never makes them worse."""

from __future__ import annotations

import numpy as np
import pytest

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.data.phantom import Phantom
from fedcxr.errors import BrokenSeal, ConfigError, DataError, NotGranted
from fedcxr.keys import MasterKey
from fedcxr.methods import Round, Workshop, _codec
from fedcxr.methods._coded import CodeMethod, release_key
from fedcxr.methods.sca import Sca
from fedcxr.methods.sealed import Sealed
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.similarity import similarity

WORKSHOP = Workshop("cpu", "fp32")
BROKEN = (
    Sca(ambiguation="published"),
    Sca(ambiguation="gaussian"),
    Sca(ambiguation="matched"),
    Sca(ambiguation="decoy"),
)
METHODS: tuple[CodeMethod, ...] = (Sca(), Sealed(), *BROKEN)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Phantom(patients=12, size=64, mean_visits=2).open(tmp_path_factory.mktemp("films"))


def share(method: CodeMethod, cohort: Cohort, weights: dict[str, np.ndarray] | None = None) -> Release:
    return method.release(cohort, "site-1", weights or {}, stream(1, "release"), WORKSHOP)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_whoever_has_the_key_sees_what_was_coded(method: CodeMethod, cohort: Cohort) -> None:
    release = Release.from_bytes(share(method, cohort).to_bytes())
    films = method.restore(release, release_key("site-1", stream(1, "release")), {}, WORKSHOP)
    codec = method.codec({}, WORKSHOP)
    np.testing.assert_array_equal(films, codec.decode(codec.encode(cohort.films()), cohort.size))
    assert similarity(cohort.films(), films)["psnr"].mean() > 28


@pytest.mark.parametrize("method", [Sca(), Sealed()], ids=repr)
def test_any_other_key_opens_nothing(method: CodeMethod, cohort: Cohort) -> None:
    release, right = share(method, cohort), release_key("site-1", stream(1, "release"))
    for wrong in (
        release_key("site-1", stream(2, "release")),
        release_key("site-2", stream(1, "release")),
        MasterKey(stream(1, "release").bytes(32), "site-1", 2).release_key("1"),
    ):
        with pytest.raises(BrokenSeal):
            method.restore(release, wrong, {}, WORKSHOP)
    with pytest.raises(BrokenSeal):
        method.find(release, 0, right.image_key("1"))


@pytest.mark.parametrize("method", [Sca(), Sealed()], ids=repr)
def test_the_keys_of_some_films_open_these_and_no_others(method: CodeMethod, cohort: Cohort) -> None:
    release, every = share(method, cohort), release_key("site-1", stream(1, "release"))
    some = every.only(["3", "1"])
    assert method.rows(release, some).tolist() == [1, 3]
    films = method.restore(release, every, {}, WORKSHOP)
    np.testing.assert_array_equal(method.restore(release, some, {}, WORKSHOP), films[[1, 3]])
    with pytest.raises(NotGranted):
        some.image_key("2")
    assert len(method.restore(release, every.only([]), {}, WORKSHOP)) == 0
    assert method.rows(release, every.only(["1", "-1", "x", "01", str(len(release))])).tolist() == [1]


def test_an_altered_release_opens_nothing(cohort: Cohort) -> None:
    release, key = share(Sealed(), cohort), release_key("site-1", stream(1, "release"))
    sealed = release.arrays["sealed"].copy()
    sealed[0, 40] ^= 1
    altered = Release("codes", "site-1", "sealed", {**release.arrays, "sealed": sealed}, release.facts)
    with pytest.raises(BrokenSeal):
        Sealed().find(altered, 0, key.image_key("0"))


def test_what_is_sealed_has_one_length_whatever_the_film(cohort: Cohort) -> None:
    flat = Cohort.whole(np.zeros((len(cohort), 64, 64), dtype=np.uint8), cohort.index, cohort.findings)
    for method in (Sca(), Sealed()):
        shapes = [{n: a.shape for n, a in share(method, c).arrays.items()} for c in (cohort, flat)]
        assert shapes[0] == shapes[1]


def test_sealed_publishes_nothing_but_ciphertext(cohort: Cohort) -> None:
    release = share(Sealed(), cohort)
    assert set(release.arrays) == {"sealed", "findings", "split"}
    counts = np.bincount(release.arrays["sealed"].ravel(), minlength=256)
    expected = counts.sum() / 256
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 6 * (2 * 255) ** 0.5


def test_another_codec_is_told_and_not_tried(cohort: Cohort) -> None:
    key = release_key("site-1", stream(1, "release"))
    with pytest.raises(DataError, match="another codec"):
        Sca(s=4).restore(share(Sca(), cohort), key, {}, WORKSHOP)


@pytest.mark.parametrize("size", [(50, 70), (17, 8)])
def test_films_of_any_size(size: tuple[int, int], cohort: Cohort) -> None:
    pixels = np.ascontiguousarray(cohort.films()[:, : size[0], :1].repeat(size[1], axis=2))
    odd = Cohort.whole(pixels, cohort.index, cohort.findings)
    release = share(Sca(), odd)
    assert Sca().restore(release, release_key("site-1", stream(1, "release")), {}, WORKSHOP).shape == pixels.shape


def test_more_fakes_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ConfigError, match="s_n"):
        plugins.build("method", {"name": "sca", "s": 16, "s_n": 60})


@pytest.mark.parametrize("fit", ["local", "public", "federated"])
def test_training_helps_unseen_patients_or_changes_nothing(fit: str, cohort: Cohort) -> None:
    method = plugins.build("method", {"name": "sca", "fit": fit, "steps": 10, "refinement": 8})
    assert isinstance(method, Sca)
    assert method.learns
    weights = method.learn(cohort, stream(1, "learn"), WORKSHOP, turn=Round(0, method.turns))
    judged = _codec._divided(cohort)[1]
    trained, untrained = (method.codec(w, WORKSHOP) for w in (weights, {}))
    psnr = [similarity(judged, c.decode(c.encode(judged), cohort.size))["psnr"].mean() for c in (trained, untrained)]
    assert psnr[0] > psnr[1] - 0.02
    release = share(method, cohort, weights)
    films = method.restore(release, release_key("site-1", stream(1, "release")), weights, WORKSHOP)
    assert similarity(cohort.films(), films)["psnr"].mean() > 28
    assert bool(release.weights) == (fit == "local")


def test_training_that_destroys_is_undone(cohort: Cohort) -> None:
    method = Sca(fit="local", steps=8, learning_rate=1.0, refinement=0)
    weights = method.learn(cohort, stream(1, "learn"), WORKSHOP)
    for name, start in method.initial(stream(1, "learn")).items():
        np.testing.assert_array_equal(weights[name], start)
