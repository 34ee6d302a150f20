"""Identities: cards that are whole, signatures for one purpose, letters that only their reader opens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from canary import leaks
from hypothesis import given
from hypothesis import strategies as st

from fedcxr.errors import BadSignature, BrokenSeal, ConfigError, Refused
from fedcxr.keys.identity import Identity, PublicIdentity

MERCY = Identity(bytes(range(64)), "mercy")
CHARITY = Identity(bytes(range(64, 128)), "charity")


def test_new_identities_come_from_the_operating_system() -> None:
    assert len({Identity.generate("mercy").public.fingerprint for _ in range(20)}) == 20


def test_a_card_tells_who_it_is() -> None:
    assert PublicIdentity.from_card(MERCY.card()) == MERCY.public
    assert not leaks([MERCY.reveal()], MERCY.card())
    assert str(MERCY.public).startswith("mercy (")


def test_the_fingerprint_covers_the_name_and_both_keys() -> None:
    public = MERCY.public
    others = [
        PublicIdentity("mercz", public.verifying, public.sealing),
        PublicIdentity("mercy", CHARITY.public.verifying, public.sealing),
        PublicIdentity("mercy", public.verifying, CHARITY.public.sealing),
        public,
    ]
    assert len({one.fingerprint for one in others}) == 4
    assert len(public.fingerprint) == 64


def test_every_flipped_bit_of_a_card_is_refused_or_of_no_consequence() -> None:
    card = MERCY.card().encode()
    for bit in range(8 * len(card)):
        altered = bytearray(card)
        altered[bit // 8] ^= 1 << bit % 8
        text = altered.decode("utf-8", "replace")
        try:
            found = PublicIdentity.from_card(text)
        except Refused:
            continue
        assert found == MERCY.public  # a capital digit, another blank
        assert json.loads(text.lower()) == json.loads(card.lower())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "charity"},
        {"name": ""},
        {"name": 7},
        {"name": ["mercy"]},
        {"verifying": CHARITY.public.verifying.hex()},
        {"sealing": CHARITY.public.sealing.hex()},  # another's key to be written to, passed off as one's own
        {"sealing": "00"},
        {"sealing": None},
        {"signature": ""},
        {"signature": "zz"},
        {"format": 2},
        {"fedcxr": "release"},
        {"more": 1},
    ],
    ids=str,
)
def test_an_altered_card_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadSignature):
        PublicIdentity.from_card(json.dumps({**json.loads(MERCY.card()), **changes}))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "7", "NaN", "[" * 5000, "{" * 3000, '"' + "x" * 9000, "\0"])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(BadSignature, match="no identity card"):
        PublicIdentity.from_card(text)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(BadSignature):
        PublicIdentity.from_card(text)


def test_a_signature_counts_for_one_signer_purpose_and_message() -> None:
    signature = MERCY.sign("release", b"message")
    MERCY.public.verify("release", b"message", signature)
    for signer, purpose, message, signed in [
        (CHARITY, "release", b"message", signature),
        (MERCY, "envelope", b"message", signature),
        (MERCY, "release", b"massage", signature),
        (MERCY, "release", b"message", signature[:-1]),
        (MERCY, "release", b"message", signature + b"\0"),
        (MERCY, "release", b"message", b""),
        (MERCY, "release", b"message", bytes(64)),
    ]:
        with pytest.raises(BadSignature, match=f"not signed by {signer.public.name}"):
            signer.public.verify(purpose, message, signed)


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    signature = MERCY.sign("release", b"message")
    for bit in range(8 * len(signature)):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            MERCY.public.verify("release", b"message", bytes(altered))


def test_a_letter_is_opened_by_its_reader_about_its_subject_only() -> None:
    letter = CHARITY.public.seal(b"secret", b"about")
    assert CHARITY.unseal(letter, b"about") == b"secret"
    assert letter != CHARITY.public.seal(b"secret", b"about")
    for reader, sealed, about in [
        (MERCY, letter, b"about"),
        (CHARITY, letter, b"abouT"),
        (CHARITY, letter, b""),
        (CHARITY, letter[:-1], b"about"),
        (CHARITY, b"", b"about"),
        (CHARITY, bytes(len(letter)), b"about"),
    ]:
        with pytest.raises(BrokenSeal) as refused:
            reader.unseal(sealed, about)
        assert not leaks([reader.reveal(), b"secret"], refused.value)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_a_key_that_shares_its_secret_with_everyone_is_not_written_to(point: bytes) -> None:
    with pytest.raises(Refused, match="cannot be written to"):
        PublicIdentity("mercy", MERCY.public.verifying, point).seal(b"secret", b"")


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    with pytest.raises(BadSignature):
        PublicIdentity("mercy", b"\xff" * 32, MERCY.public.sealing).verify("release", b"", bytes(64))


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_keys_of_the_wrong_length_are_refused(wrong: bytes) -> None:
    with pytest.raises(ConfigError):
        PublicIdentity("mercy", wrong, MERCY.public.sealing)
    with pytest.raises(ConfigError):
        Identity(wrong, "mercy")
