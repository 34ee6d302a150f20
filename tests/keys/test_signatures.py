"""Signed releases: nothing in one can be changed, and nobody signs for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcxr import wire
from fedcxr.errors import BadSignature, ConfigError, Refused
from fedcxr.keys.identity import Identity
from fedcxr.keys.signatures import sign_answer, sign_release, verify_answer, verify_release
from fedcxr.release import Packed, Release

MERCY = Identity.generate("mercy")
CHARITY = Identity.generate("charity")
SERVER = Identity.generate("server")
CODES = np.arange(24, dtype=np.int8).reshape(4, 6)
RELEASE = Release("update", "mercy", "sca", {"codes": CODES}, {"round": 1}, {"to": b"sealed"})
SIGNED = sign_release(RELEASE, MERCY)


def test_a_signed_release_is_verified_after_its_journey() -> None:
    packed = verify_release(SIGNED.to_bytes(), MERCY.public)
    assert Release.of(packed).to_bytes() == SIGNED.to_bytes()
    assert Release.from_bytes(SIGNED.to_bytes()).digest() == SIGNED.digest()
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
        verify_release(replace(SIGNED, **change).to_bytes(), MERCY.public)


def test_every_flipped_bit_on_the_way_is_refused() -> None:
    data = SIGNED.to_bytes()
    for bit in range(8 * len(data)):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused):
            verify_release(bytes(altered), MERCY.public)


def test_nobody_signs_for_another() -> None:
    with pytest.raises(ConfigError, match="a site signs its own releases"):
        sign_release(RELEASE, CHARITY)
    with pytest.raises(BadSignature, match="not signed by charity"):
        verify_release(SIGNED.to_bytes(), CHARITY.public)
    stolen = RELEASE.with_signature(CHARITY.sign("release", bytes.fromhex(RELEASE.digest())))
    with pytest.raises(BadSignature, match="a release of another site; given: mercy; allowed: charity"):
        verify_release(stolen.to_bytes(), CHARITY.public)
    disguised = replace(SIGNED, site="charity").to_bytes()
    for signer in (MERCY, CHARITY):
        with pytest.raises(BadSignature):
            verify_release(disguised, signer.public)


def test_an_unsigned_release_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify_release(RELEASE.to_bytes(), MERCY.public)


def test_nothing_is_read_before_its_signature() -> None:
    """Neither a header of nonsense nor arrays of gigabytes cost anything, unless their site signed them."""
    for body in (b"", b"\xff" * 100, (1 << 31).to_bytes(4) + b"\x90" * 1000):
        nonsense = Packed(body)
        with pytest.raises(BadSignature):
            verify_release(nonsense.to_bytes(), MERCY.public)
        signed = replace(nonsense, signature=MERCY.sign("release", bytes.fromhex(nonsense.digest)))
        with pytest.raises(Refused, match="a release is damaged"):
            verify_release(signed.to_bytes(), MERCY.public)


# Answers --------------------------------------------------------------------------------------------------------------

REQUEST = wire.Request("sites: 3", "mercy", 1, b"nonce", b"learnt")
SAID = wire.Answer("mercy", "ok", "reason", "place", 3, 7, 1.5, release=b"release")


@pytest.mark.parametrize(
    "change",
    [
        {"site": "charity"},
        {"status": "dropped"},
        {"reason": "reasom"},
        {"reason": "reasonp", "place": "lace"},
        {"place": ""},
        {"patients": 2},
        {"images": 8},
        {"seconds": 1.0},
        {"release": b"releasE"},
    ],
    ids="-".join,
)
def test_all_that_is_answered_is_signed(change: dict[str, Any]) -> None:
    signature = sign_answer(MERCY, SERVER.public, REQUEST.digest(wire.RELEASE), SAID.digest)
    verify_answer(MERCY.public, SERVER.public, REQUEST.digest(wire.RELEASE), SAID.digest, signature)
    with pytest.raises(BadSignature, match="this answer is not signed by mercy"):
        verify_answer(
            MERCY.public, SERVER.public, REQUEST.digest(wire.RELEASE), replace(SAID, **change).digest, signature
        )


@pytest.mark.parametrize(
    "change",
    [{"scenario": "sites: 4"}, {"site": "charity"}, {"turn": 2}, {"nonce": b"older"}, {"learnt": b""}],
    ids="-".join,
)
def test_an_answer_to_another_request_is_none_to_this(change: dict[str, Any]) -> None:
    asked = REQUEST.digest(wire.RELEASE)
    for other in (replace(REQUEST, **change).digest(wire.RELEASE), REQUEST.digest(wire.LEARN)):
        signature = sign_answer(MERCY, SERVER.public, other, SAID.digest)
        with pytest.raises(BadSignature):
            verify_answer(MERCY.public, SERVER.public, asked, SAID.digest, signature)
