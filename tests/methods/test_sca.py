"""Sparse codes as a release: the key's holder sees the films, nobody else does, and training never makes them worse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from torch import Tensor

from fedcxr import plugins
from fedcxr.cohort import Cohort
from fedcxr.data.phantom import Phantom
from fedcxr.errors import BrokenSeal, ConfigError, DataError, NotGranted
from fedcxr.keys import MasterKey, ReleaseKey, SomeKeys
from fedcxr.methods import Round, RunContext, _codec
from fedcxr.methods._coded import CodeMethod, release_key
from fedcxr.methods.sca import Sca
from fedcxr.methods.sealed import Sealed
from fedcxr.metrics.similarity import similarity
from fedcxr.models.sparse_coder import SparseCoder
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.view import Shared, View

CONTEXT = RunContext("cpu", "fp32")
KEY = release_key("site-1", stream(1, "key"))
BROKEN = (
    Sca(ambiguation="published"),
    Sca(ambiguation="gaussian"),
    Sca(ambiguation="matched"),
    Sca(ambiguation="decoy"),
)
SHARING: tuple[CodeMethod, ...] = (Sca(together=4), Sealed(together=2), Sealed(together=4, maps=2))
METHODS: tuple[CodeMethod, ...] = (Sca(), Sealed(), *SHARING, *BROKEN)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return Phantom(patients=12, size=64, mean_visits=2).open(tmp_path_factory.mktemp("films"))


def share(method: CodeMethod, cohort: Cohort, weights: dict[str, np.ndarray] | None = None) -> Release:
    return method.release(cohort, KEY, weights or {}, stream(1, "release"), CONTEXT)


@dataclass(frozen=True)
class Holder:
    """Somebody with these keys."""

    held: ReleaseKey | SomeKeys

    def keys(self, release: Release) -> ReleaseKey | SomeKeys:
        return self.held


def view(method: CodeMethod, release: Release, keys: ReleaseKey | SomeKeys) -> View:
    return method.view(Shared([release]), Holder(keys), CONTEXT)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_whoever_has_the_key_sees_what_was_coded(method: CodeMethod, cohort: Cohort) -> None:
    release = Release.from_bytes(share(method, cohort).to_bytes())
    seen, codec = view(method, release, KEY), method.codec({}, CONTEXT)
    codes = codec.encode(cohort.films())
    assert seen.opened.all()
    np.testing.assert_array_equal(seen.forms["purified"], codes)
    np.testing.assert_array_equal(seen.forms["films"], codec.decode(codes, cohort.size))
    assert similarity(cohort.films(), np.asarray(seen.forms["films"], np.uint8))["psnr"].mean() > 28


@pytest.mark.parametrize("method", [Sca(), Sealed()], ids=repr)
def test_any_other_key_opens_nothing(method: CodeMethod, cohort: Cohort) -> None:
    release = share(method, cohort)
    for wrong in (
        release_key("site-1", stream(2, "key")),
        release_key("site-2", stream(1, "key")),
        MasterKey(stream(1, "key").bytes(32), "site-1", 2).release_key("1"),
    ):
        with pytest.raises(BrokenSeal):
            method.purified(release, wrong, {})
        seen = view(method, release, wrong)
        assert not seen.opened.any()
        assert not {"films", "purified"} & seen.forms.keys()
        assert "site-1" in seen.refusals
    with pytest.raises(BrokenSeal):
        method.find(release, 0, KEY.image_key("1"))


@pytest.mark.parametrize("method", [Sca(), Sealed()], ids=repr)
def test_the_keys_of_some_films_open_these_and_no_others(method: CodeMethod, cohort: Cohort) -> None:
    release, some = share(method, cohort), KEY.only(["3", "1"])
    assert method.rows(release, some).tolist() == [1, 3]
    every, seen = view(method, release, KEY), view(method, release, some)
    assert np.flatnonzero(seen.opened).tolist() == [1, 3]
    for form in ("films", "purified"):
        np.testing.assert_array_equal(seen.forms[form][[1, 3]], every.forms[form][[1, 3]])
        assert not seen.forms[form][~seen.opened].any()
    assert seen.refusals == {"site-1": f"site-1 granted 2 of {len(release)} images"}
    with pytest.raises(NotGranted):
        some.image_key("2")
    assert not view(method, release, KEY.only([])).opened.any()
    assert method.rows(release, KEY.only(["1", "-1", "x", "01", str(len(release))])).tolist() == [1]


def test_an_altered_release_opens_nothing(cohort: Cohort) -> None:
    release = share(Sealed(), cohort)
    sealed = release.arrays["sealed"].copy()
    sealed[0, 40] ^= 1
    altered = Release("codes", "site-1", "sealed", {**release.arrays, "sealed": sealed}, release.facts)
    with pytest.raises(BrokenSeal):
        Sealed().find(altered, 0, KEY.image_key("0"))


def test_what_is_sealed_has_one_length_whatever_the_film(cohort: Cohort) -> None:
    flat = Cohort.whole(np.zeros((len(cohort), 64, 64), dtype=np.uint8), cohort.index, cohort.findings)
    for method in (Sca(), Sealed(), *SHARING):
        shapes = [{n: a.shape for n, a in share(method, c).arrays.items()} for c in (cohort, flat)]
        assert shapes[0] == shapes[1]


def test_sealed_publishes_nothing_but_ciphertext(cohort: Cohort) -> None:
    release = share(Sealed(), cohort)
    assert set(release.arrays) == {"sealed", "labels"}
    counts = np.bincount(release.arrays["sealed"].ravel(), minlength=256)
    expected = counts.sum() / 256
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 6 * (2 * 255) ** 0.5


def test_another_codec_is_told_and_not_tried(cohort: Cohort) -> None:
    for other in (Sca(s=4), Sca(together=2)):
        with pytest.raises(DataError, match="another codec"):
            view(other, share(Sca(), cohort), KEY)


def test_where_cells_share_some_keep_more_than_others(cohort: Cohort) -> None:
    codes = Sca(together=4).codec({}, CONTEXT).encode(cohort.films())
    kept = (codes != 0).sum(axis=1)  # of 8 x 8 cells
    assert kept.min() < 8 < kept.max()
    assert (kept.reshape(-1, 2, 4, 2, 4).sum(axis=(2, 4)) == 8 * 16).all()


@pytest.mark.parametrize("size", [(50, 70), (17, 8)])
@pytest.mark.parametrize("method", [Sca(), *SHARING], ids=repr)
def test_films_of_any_size(method: CodeMethod, size: tuple[int, int], cohort: Cohort) -> None:
    pixels = np.ascontiguousarray(cohort.films()[:, : size[0], :1].repeat(size[1], axis=2))
    odd = Cohort.whole(pixels, cohort.index, cohort.findings)
    seen = view(method, share(method, odd), KEY)
    assert seen.opened.all()
    assert seen.forms["films"].shape == pixels.shape


def test_more_fakes_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ConfigError, match="s_n"):
        plugins.build("method", {"name": "sca", "s": 16, "s_n": 60})


@pytest.mark.parametrize("ambiguation", [method.ambiguation for method in BROKEN])
def test_fakes_among_values_in_their_places_need_room_in_every_cell(ambiguation: str) -> None:
    with pytest.raises(ConfigError, match="set together to 1, or ambiguation to padded"):
        plugins.build("method", {"name": "sca", "ambiguation": ambiguation, "together": 2})


def test_no_other_squares_are_shared() -> None:
    for wrong in (0, 9, True, 1.5):
        with pytest.raises(ConfigError, match="together"):
            plugins.build("method", {"name": "sealed", "together": wrong})


@pytest.mark.parametrize(("fit", "together"), [("local", 1), ("public", 1), ("federated", 1), ("local", 4)])
def test_training_helps_unseen_patients_or_changes_nothing(fit: str, together: int, cohort: Cohort) -> None:
    method = plugins.build("method", {"name": "sca", "fit": fit, "together": together, "steps": 10, "refinement": 8})
    assert isinstance(method, Sca)
    assert method.learning is not None
    weights = method.learn(cohort, stream(1, "learn"), CONTEXT, turn=Round(0, method.learning.rounds))
    judged = _codec._divided(cohort)[1]
    trained, untrained = (method.codec(w, CONTEXT) for w in (weights, {}))
    psnr = [similarity(judged, c.decode(c.encode(judged), cohort.size))["psnr"].mean() for c in (trained, untrained)]
    assert psnr[0] > psnr[1] - 0.02
    release = share(method, cohort, weights)
    assert bool(release.weights) == (fit == "local")
    whole = release if release.weights else release.publishing(weights)
    films = np.asarray(view(method, whole, KEY).forms["films"], dtype=np.uint8)
    assert similarity(cohort.films(), films)["psnr"].mean() > 28


def test_training_learns_and_is_judged_by_films_whose_cells_share_as_they_will(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, forward = set(), SparseCoder.forward

    def heard(coder: SparseCoder, films: Tensor, s: int, together: int = 1) -> Tensor:
        asked.add((coder.training, s, together))
        return forward(coder, films, s, together)

    monkeypatch.setattr(SparseCoder, "forward", heard)
    Sca(fit="local", s=4, together=2, steps=1, refinement=0).learn(cohort, stream(1, "learn"), CONTEXT)
    assert asked == {(True, 4, 2), (False, 4, 2)}


@pytest.mark.parametrize("together", [1, 4])
def test_training_that_destroys_is_undone(together: int, cohort: Cohort) -> None:
    method = Sca(fit="local", together=together, steps=8, learning_rate=1.0, refinement=0)
    weights = method.learn(cohort, stream(1, "learn"), CONTEXT)
    for name, start in method.initial(stream(1, "learn")).items():
        np.testing.assert_array_equal(weights[name], start)
