"""Who opens what of a release: exactly those who were granted it, and nobody after anything was changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcxr.cohort import Cohort
from fedcxr.errors import NotGranted, Refused
from fedcxr.methods import Workshop
from fedcxr.methods.noise import Noise
from fedcxr.methods.sca import Sca
from fedcxr.methods.sealed import Sealed
from fedcxr.reading import Reading, foreign_keys, granted, origin_of, read
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.simulation.custody import Simulated, simulated_identity

WORKSHOP = Workshop("cpu", "fp32")
SITES = ("site-1", "site-2")
GRANTS = {"server": 1.0, "site-2": 0.5}
METHOD = Sca()


@pytest.fixture(scope="module")
def cohort(make_cohort: Callable[..., Cohort]) -> Cohort:
    return make_cohort((3, 2, 1, 3, 2, 3, 2, 1, 3, 2), size=16)


@pytest.fixture(scope="module")
def released(cohort: Cohort) -> dict[tuple[str, str], Release]:
    """By site and run."""

    def made(site: str, run: str) -> Release:
        custodian = Simulated(1, site, GRANTS)
        keys = custodian.begin(run, list(cohort.index["image"]))
        return replace(METHOD.release_under(keys, cohort, {}, WORKSHOP), envelopes=custodian.envelopes(run))

    return {(site, run): made(site, run) for site in SITES for run in ("spring", "autumn")}


def reading(release: Release, reader: str = "server", sender: str = "site-1", seed: int = 1) -> Reading:
    who, whose = simulated_identity(seed, reader), simulated_identity(1, sender).public
    return read(METHOD, release, who, whose, {}, WORKSHOP)


def closed(found: Reading) -> bool:
    return not found.opened.any() and not found.films.any() and not found.codes.any() and found.refusal is not None


def test_a_grant_opens_all_or_its_share(released: dict[Any, Release], cohort: Cohort) -> None:
    codec = METHOD.codec({}, WORKSHOP)
    codes = codec.encode(cohort.films())
    films = codec.decode(codes, cohort.size)
    whole, half = reading(released["site-1", "spring"]), reading(released["site-1", "spring"], "site-2")
    assert whole.refusal is None
    np.testing.assert_array_equal(whole.films, films)
    np.testing.assert_array_equal(whole.codes, codes)
    assert 0 < half.opened.sum() < len(cohort)
    np.testing.assert_array_equal(half.films[half.opened], films[half.opened])
    assert not half.films[~half.opened].any()
    assert not half.codes[~half.opened].any()
    assert f"granted {half.opened.sum()} of {len(cohort)} images to site-2" in str(half.refusal)


def test_no_grant_is_a_clear_refusal(released: dict[Any, Release]) -> None:
    found = reading(released["site-1", "spring"], "site-3")
    assert closed(found)
    assert "site-1 granted nothing to site-3" in str(found.refusal)
    with pytest.raises(NotGranted):
        granted(released["site-1", "spring"], simulated_identity(1, "site-3"), simulated_identity(1, "site-1").public)


def test_nothing_opens_with_what_belongs_elsewhere(released: dict[Any, Release]) -> None:
    release = released["site-1", "spring"]
    server = simulated_identity(1, "server").public.fingerprint
    swapped = replace(release, envelopes=released["site-2", "spring"].envelopes)
    older = replace(release, envelopes=released["site-1", "autumn"].envelopes)
    readdressed = {**release.envelopes, server: release.envelopes[simulated_identity(1, "site-2").public.fingerprint]}
    for other in (swapped, older, replace(release, envelopes=readdressed)):
        assert closed(reading(other))
    assert closed(reading(release, sender="site-2"))
    assert closed(reading(release, seed=2))
    assert not closed(reading(release))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_envelope_opens_nothing(released: dict[Any, Release], data: st.DataObject) -> None:
    release = released["site-1", "spring"]
    server = simulated_identity(1, "server").public.fingerprint
    envelope = bytearray(release.envelopes[server])
    if data.draw(st.booleans()):
        envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del envelope[data.draw(st.integers(0, len(envelope) - 1)) :]
    assert closed(reading(replace(release, envelopes={**release.envelopes, server: bytes(envelope)})))


@given(told=st.one_of(st.none(), st.text(), st.dictionaries(st.sampled_from(["release", "epoch", "x"]), st.integers())))
def test_a_release_that_does_not_tell_its_key_is_refused(told: Any, released: dict[Any, Release]) -> None:
    release = replace(released["site-1", "spring"], facts={**released["site-1", "spring"].facts, "key": told})
    with pytest.raises(Refused):
        origin_of(release)
    assert closed(reading(release))


@pytest.mark.parametrize("method", [Sca(), Sealed()], ids=["sca", "sealed"])
def test_the_key_of_another_site_opens_nothing(method: Sca | Sealed, cohort: Cohort) -> None:
    keys = [Simulated(1, site, {}).begin("r", ()) for site in SITES]
    releases = [method.release_under(key, cohort, {}, WORKSHOP) for key in keys]
    assert foreign_keys(method, releases, keys) == {"tried": 2 * len(cohort), "opened": 0}
    # The control: the same search finds films that do open.
    lent = [replace(release, site=other) for release, other in zip(releases, reversed(SITES), strict=True)]
    assert foreign_keys(method, lent, keys)["opened"] == 2 * len(cohort)


def test_what_needs_no_key_is_open_to_all(cohort: Cohort) -> None:
    release = Noise().release(cohort, "site-1", {}, stream(1), WORKSHOP)
    found = read(Noise(), release, simulated_identity(1, "x"), simulated_identity(1, "site-1").public, {}, WORKSHOP)
    assert found.opened.all()
    assert found.refusal is None
    np.testing.assert_array_equal(found.films, release.arrays["films"])
