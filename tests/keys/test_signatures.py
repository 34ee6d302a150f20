"""Signed releases: nothing in one can be changed, and nobody signs for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcxr.errors import BadSignature, ConfigError, Refused
from fedcxr.keys.identity import Identity
from fedcxr.keys.signatures import sign_release, verify_release
from fedcxr.release import Release

MERCY = Identity.generate("mercy")
CHARITY = Identity.generate("charity")
CODES = np.arange(24, dtype=np.int8).reshape(4, 6)
RELEASE = Release("update", "mercy", "sca", {"codes": CODES}, {"round": 1}, {"to": b"sealed"})
SIGNED = sign_release(RELEASE, MERCY)


def test_a_signed_release_is_verified_after_its_journey() -> None:
    verify_release(SIGNED, MERCY.public)
    verify_release(Release.from_bytes(SIGNED.to_bytes()), MERCY.public)
    assert sign_release(SIGNED, MERCY).signature == SIGNED.signature  # a signature does not cover itself


@pytest.mark.parametrize(
    "change",
    [
        {"method": "none"},
        {"arrays": {"codes": CODES ^ 1}},
        {"arrays": {"codes": CODES.reshape(6, 4)}},
        {"arrays": {"codes": CODES.view(np.uint8)}},
        {"arrays": {"code": CODES}},
        {"facts": {"round": 2}},
        {"facts": {}},
        {"envelopes": {}},
        {"envelopes": {"to": b"sealeD"}},
        {"envelopes": {"too": b"sealed"}},
        {"signature": b""},
        {"signature": bytes(64)},
        {"signature": CHARITY.sign("release", bytes.fromhex(RELEASE.digest()))},
        {"signature": MERCY.sign("envelope", bytes.fromhex(RELEASE.digest()))},
        {"signature": SIGNED.signature[:-1]},
    ],
    ids="-".join,
)
def test_any_change_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadSignature, match="this release is not signed by mercy"):
        verify_release(replace(SIGNED, **change), MERCY.public)


def test_every_flipped_bit_on_the_way_is_refused() -> None:
    data = SIGNED.to_bytes()
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        try:
            release = Release.from_bytes(bytes(altered))
        except Refused:
            continue
        if release.digest() != SIGNED.digest() or release.signature != SIGNED.signature:
            with pytest.raises(BadSignature):
                verify_release(release, MERCY.public)


def test_nobody_signs_for_another() -> None:
    with pytest.raises(ConfigError, match="a site signs its own releases"):
        sign_release(RELEASE, CHARITY)
    with pytest.raises(BadSignature, match="a release of another site; given: mercy; allowed: charity"):
        verify_release(SIGNED, CHARITY.public)
    disguised = replace(SIGNED, site="charity")
    with pytest.raises(BadSignature):
        verify_release(disguised, CHARITY.public)
    with pytest.raises(BadSignature):
        verify_release(disguised, MERCY.public)


def test_an_unsigned_release_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify_release(RELEASE, MERCY.public)
