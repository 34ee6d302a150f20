"""Findings and splits under the keys of their films: read by whoever has these, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.cohort import Cohort
from fedcxr.context import RunContext
from fedcxr.errors import DataError
from fedcxr.keys import MasterKey, ReleaseKey, SomeKeys
from fedcxr.methods import _labels
from fedcxr.methods.sealed import Sealed
from fedcxr.release import LABELS, Release
from fedcxr.rng import stream
from fedcxr.view import Nobody, Thief, Told

MASTER = MasterKey(bytes(range(32)), "site-1", epoch=1)
KEY = MASTER.release_key("run 1")
CONTEXT = RunContext("cpu", "fp32")


@pytest.fixture(scope="module")
def cohort(make_cohort: Callable[..., Cohort]) -> Cohort:
    return make_cohort((3, 2, 1, 2), size=16)


@pytest.fixture(scope="module")
def release(cohort: Cohort) -> Release:
    return Sealed().release(cohort, KEY, {}, stream(1, "release"), CONTEXT)


def read(release: Release, keys: ReleaseKey | SomeKeys) -> Told:
    return Sealed().told(release, Thief({"site-1": keys}))


def with_labels(release: Release, cohort: Cohort, plain: bytes) -> Release:
    """Its first film's labels are these bytes, properly sealed by its own site."""
    sealed = KEY.image_key("0").seal(plain, _labels._purpose(release.facts["version"]))
    labels = np.frombuffer(sealed, dtype=np.uint8)
    assert len(labels) == _labels.length(len(plain) - 1)
    wide = np.zeros((len(cohort), len(labels)), dtype=np.uint8)
    wide[0] = labels
    return replace(release, arrays={**release.arrays, LABELS: wide})


def untold(told: Told) -> np.ndarray:
    assert np.isnan(told.findings[told.split == Told.UNTOLD]).all()
    return np.flatnonzero(told.split == Told.UNTOLD)


def test_who_has_the_key_reads_what_was_sealed(release: Release, cohort: Cohort) -> None:
    told = read(release, KEY)
    np.testing.assert_array_equal(told.findings, cohort.labels)
    assert not len(untold(told))


def test_who_has_keys_to_some_films_reads_of_no_other(release: Release) -> None:
    assert untold(read(release, KEY.only(["1", "4", "no film"]))).tolist() == [0, 2, 3, 5, 6, 7]


@pytest.mark.parametrize("keys", [MASTER.release_key("run 2"), MasterKey(bytes(32), "site-1", 1).release_key("run 1")])
def test_other_keys_read_nothing(release: Release, keys: ReleaseKey) -> None:
    assert len(untold(read(release, keys))) == len(release)


def test_nobody_reads_anything(release: Release) -> None:
    assert len(untold(Sealed().told(release, Nobody()))) == len(release)


def test_what_is_published_tells_nothing_of_the_findings(make_cohort: Callable[..., Cohort], cohort: Cohort) -> None:
    """Neither in its length nor in the clear: films with all findings, with none and with unknown ones look alike."""
    shapes, published = set(), b""
    for value in (0.0, 1.0, np.nan):
        index = cohort.index.assign(**dict.fromkeys(cohort.findings, value))
        other = Cohort.whole(cohort.films(), index, cohort.findings)
        labels = Sealed().release(other, KEY, {}, stream(1, "release"), CONTEXT).arrays[LABELS]
        shapes.add(labels.shape)
        published += labels.tobytes()
        assert len({one.tobytes() for one in labels}) == len(labels)  # of two films with the same findings, too
    assert len(shapes) == 1
    assert np.bincount(np.frombuffer(published, dtype=np.uint8), minlength=256).max() < len(published) / 64


def test_labels_are_not_those_of_another_film(release: Release) -> None:
    swapped = release.arrays[LABELS][::-1].copy()
    assert len(untold(read(replace(release, arrays={**release.arrays, LABELS: swapped}), KEY))) == len(release)


@settings(max_examples=50)
@given(plain=st.binary(min_size=1, max_size=20))
def test_what_a_site_sealed_that_makes_no_sense_is_told_of_nobody(
    release: Release, cohort: Cohort, plain: bytes
) -> None:
    told = read(with_labels(release, cohort, plain), KEY)
    k = len(cohort.findings)
    sensible = len(plain) == k + 1 and max(plain[:-1], default=0) <= 2 and plain[-1] < 3
    assert (0 in untold(told)) != sensible


def test_findings_are_sealed_or_in_the_clear(release: Release, cohort: Cohort) -> None:
    clear = Sealed(findings="clear").release(cohort, KEY, {}, stream(1, "release"), CONTEXT)
    np.testing.assert_array_equal(Sealed(findings="clear").told(clear, Nobody()).findings, cohort.labels)
    with pytest.raises(DataError, match="sealed or in the clear"):
        replace(clear, arrays={**clear.arrays, LABELS: release.arrays[LABELS]})
    with pytest.raises(DataError, match="bytes"):
        replace(release, arrays={**release.arrays, LABELS: release.arrays[LABELS].astype(np.int8)})
    with pytest.raises(DataError, match="as many"):
        replace(release, arrays={name: array for name, array in release.arrays.items() if name != LABELS})
