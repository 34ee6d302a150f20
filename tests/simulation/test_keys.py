"""A simulation's keys: the same for the same seed, of no use elsewhere, and given to those the scenario names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcxr.errors import BadSignature, NotGranted
from fedcxr.keys import ReleaseKey, SomeKeys
from fedcxr.keys.envelopes import open_envelope
from fedcxr.keys.provider import Job, signed
from fedcxr.keys.signatures import verify_release
from fedcxr.release import Release
from fedcxr.simulation.keys import Simulated, simulated_identity, simulated_register

IMAGES = [f"i-{n}" for n in range(200)]
UPDATE = Release("update", "site-1", "sca", {"weights/a": np.zeros(3, np.float32)})


def test_the_same_seed_gives_the_same_keys() -> None:
    one, again = (Simulated(3, "site-1", {"server": 1.0}) for _ in range(2))
    assert one.begin(Job("release", "r"), IMAGES).reveal() == again.begin(Job("release", "r"), IMAGES).reveal()
    assert one.identity.reveal() == again.identity.reveal() == simulated_identity(3, "site-1").reveal()


def test_other_seeds_sites_and_releases_have_other_keys() -> None:
    keys = {
        Simulated(seed, site, {}).begin(Job("release", release), IMAGES).reveal()
        for seed in (3, 4)
        for site in ("site-1", "site-2")
        for release in ("r", "s")
    }
    assert len(keys) == 8
    assert len({simulated_identity(seed, name).reveal() for seed in (3, 4) for name in ("server", "site-1")}) == 4


def test_those_who_are_named_get_their_share_and_nobody_else_anything() -> None:
    site = Simulated(3, "site-1", {"server": 0.25, "site-2": 1.0, "site-1": 0.5})
    key, envelopes = site.begin(Job("release", "r"), IMAGES), site.envelopes(Job("release", "r"))
    found = {
        name: open_envelope(
            envelopes[simulated_identity(3, name).public.fingerprint],
            simulated_identity(3, name),
            site.identity.public,
            key.origin,
        )
        for name in ("server", "site-2", "site-1")
    }
    assert len(envelopes) == 3
    assert isinstance(found["site-2"], ReleaseKey)
    assert isinstance(found["site-1"], ReleaseKey)  # its own
    some = found["server"]
    assert isinstance(some, SomeKeys)
    assert 30 < len(some) < 75
    assert all(some.image_key(image).reveal() == key.image_key(image).reveal() for image in some.images)
    outside = next(str(row) for row in range(len(IMAGES)) if str(row) not in some.images)
    with pytest.raises(NotGranted):
        some.image_key(outside)


def test_what_leaves_is_signed_with_what_it_answers() -> None:
    site = Simulated(3, "site-1", {})
    release = signed(UPDATE, site, {"run": "a", "turn": 1})
    register = simulated_register(3, ["site-1", "site-2"])
    verify_release(release.to_bytes(), register["site-1"])
    assert release.facts["run"] == "a"
    for forged in (
        replace(release, facts={**release.facts, "turn": 2}),
        replace(release, envelopes={"x": b"y"}),
        UPDATE,
        signed(UPDATE, Simulated(4, "site-1", {}), {"run": "a", "turn": 1}),
    ):
        with pytest.raises(BadSignature):
            verify_release(forged.to_bytes(), register["site-1"])
    with pytest.raises(BadSignature):
        verify_release(release.to_bytes(), register["site-2"])
