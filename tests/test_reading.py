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
from fedcxr.keys.provider import Job
from fedcxr.methods import RunContext
from fedcxr.methods.noise import Noise
from fedcxr.methods.sca import Sca
from fedcxr.methods.sealed import Sealed
from fedcxr.reading import Recipient, foreign_keys, origin_of
from fedcxr.release import Release
from fedcxr.rng import stream
from fedcxr.simulation.keys import Simulated, simulated_identity
from fedcxr.view import Nobody, Shared, Thief, View

CONTEXT = RunContext("cpu", "fp32")
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
        key_provider = Simulated(1, site, GRANTS)
        keys = key_provider.begin(Job("release", run), list(cohort.index["image"]))
        return replace(
            METHOD.release(cohort, keys, {}, stream(1), CONTEXT), envelopes=key_provider.envelopes(Job("release", run))
        )

    return {(site, run): made(site, run) for site in SITES for run in ("spring", "autumn")}


def recipient(release: Release, reader: str = "server", sender: str = "site-1", seed: int = 1) -> Recipient:
    return Recipient(simulated_identity(seed, reader), {release.site: simulated_identity(1, sender).public})


def reading(release: Release, reader: str = "server", sender: str = "site-1", seed: int = 1) -> View:
    return METHOD.view(Shared([release]), recipient(release, reader, sender, seed), CONTEXT)


def closed(found: View) -> bool:
    return not found.opened.any() and set(found.forms) == {"codes", "sealed"} and set(found.refusals) == {"site-1"}


def test_a_grant_opens_all_or_its_share(released: dict[Any, Release], cohort: Cohort) -> None:
    codec = METHOD.codec({}, CONTEXT)
    codes = codec.encode(cohort.films())
    films = codec.decode(codes, cohort.size)
    whole, half = reading(released["site-1", "spring"]), reading(released["site-1", "spring"], "site-2")
    assert not whole.refusals
    assert whole.opened.all()
    assert 0 < half.opened.sum() < len(cohort)
    for form, expected in (("films", films), ("purified", codes)):
        np.testing.assert_array_equal(whole.forms[form], expected)
        np.testing.assert_array_equal(half.forms[form][half.opened], expected[half.opened])
        assert not half.forms[form][~half.opened].any()
    assert half.refusals == {"site-1": f"site-1 granted {half.opened.sum()} of {len(cohort)} images"}


def test_what_is_published_is_everybodys(released: dict[Any, Release]) -> None:
    """Release after release, whoever looks, and as it was published."""
    both = [released[site, "spring"] for site in SITES]
    who = Recipient(simulated_identity(1, "server"), {site: simulated_identity(1, site).public for site in SITES})
    for holder in (who, Nobody()):
        seen = METHOD.view(Shared(both), holder, CONTEXT)
        for form in ("codes", "sealed"):
            np.testing.assert_array_equal(seen.forms[form], np.concatenate([r.arrays[form] for r in both]))


def test_a_thief_opens_what_leaked_and_no_more(released: dict[Any, Release], cohort: Cohort) -> None:
    both = [released[site, "spring"] for site in SITES]
    thief = Thief({"site-2": Simulated(1, "site-2", {}).begin(Job("release", "spring"), ())})
    seen = METHOD.view(Shared(both), thief, CONTEXT)
    assert seen.opened.tolist() == [False] * len(cohort) + [True] * len(cohort)
    assert seen.refusals == {"site-1": "the keys of site-1 did not leak"}
    whole = METHOD.view(Shared([both[1]]), thief, CONTEXT)
    for form in ("films", "purified"):
        np.testing.assert_array_equal(seen.forms[form][len(cohort) :], whole.forms[form])
        assert not seen.forms[form][: len(cohort)].any()
    nothing = METHOD.view(Shared(both), Nobody(), CONTEXT)
    assert not nothing.opened.any()
    assert {*nothing.refusals} == {*SITES}
    for release in both:
        with pytest.raises(NotGranted):
            Nobody().keys(release)


@pytest.mark.parametrize("rows", [[2, 0, 2], [], [True] * 3 + [False] * 19], ids=str)
def test_some_rows_of_what_is_seen(released: dict[Any, Release], rows: list[int]) -> None:
    seen = reading(released["site-1", "spring"], "site-2")
    places = np.asarray(rows, dtype=np.bool_ if rows and isinstance(rows[0], bool) else np.intp)
    some = seen.take(places)
    np.testing.assert_array_equal(some.opened, seen.opened[places])
    np.testing.assert_array_equal(some.versions, seen.versions[places])
    assert some.forms.keys() == seen.forms.keys()
    for form, array in seen.forms.items():
        np.testing.assert_array_equal(some.forms[form], array[places])


def test_no_grant_is_a_clear_refusal(released: dict[Any, Release]) -> None:
    found = reading(released["site-1", "spring"], "site-3")
    assert closed(found)
    assert "site-1 granted nothing to site-3" in found.refusals["site-1"]
    with pytest.raises(NotGranted):
        recipient(released["site-1", "spring"], "site-3").keys(released["site-1", "spring"])


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
    keys = [Simulated(1, site, {}).begin(Job("release", "r"), ()) for site in SITES]
    releases = [method.release(cohort, key, {}, stream(1), CONTEXT) for key in keys]
    assert foreign_keys(method, releases, keys) == {"tried": 2 * len(cohort), "opened": 0}
    # The control: the same search finds films that do open.
    lent = [replace(release, site=other) for release, other in zip(releases, reversed(SITES), strict=True)]
    assert foreign_keys(method, lent, keys)["opened"] == 2 * len(cohort)


def test_what_needs_no_key_is_open_to_all(cohort: Cohort) -> None:
    release = Noise().release(cohort, Simulated(1, "site-1", {}).begin(Job("release", "r"), ()), {}, stream(1), CONTEXT)
    for holder in (recipient(release, "x"), Nobody()):
        found = Noise().view(Shared([release, release]), holder, CONTEXT)
        assert found.opened.all()
        assert not found.refusals
        np.testing.assert_array_equal(found.forms["films"], np.concatenate([release.arrays["films"]] * 2))
